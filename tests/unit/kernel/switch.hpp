// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The switch between threads on a machine that the test plays: nothing but what machine.hpp notes.
#pragma once

#include "machine.hpp"
