// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The do-nothing program: what it costs is what a process costs.
int main() {}
