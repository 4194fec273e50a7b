// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Everything of libs/sys: typed kernel calls, messages, results, time.
#pragma once

#include "sys/clock.hpp"
#include "sys/counter.hpp"
#include "sys/handle.hpp"
#include "sys/message.hpp"
#include "sys/result.hpp"
