// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#pragma GCC system_header
#include <bits/gthr-single.h>
