// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// When a service that has died is made again. The first time soon; each further time after twice as long, up to a
// limit, so that one which dies at every start costs the others next to nothing; soon again once it has lived for
// a while. Portable: time is milliseconds since any moment.
#pragma once

#include <array>
#include <cstdint>

#include "system/init/builder.hpp"
#include "system/init/tables.hpp"

namespace twain::init {

using Milliseconds = std::uint64_t;

class RestartPlan {
public:
    static constexpr Milliseconds kFirst = 10;
    static constexpr Milliseconds kLast = 10'000;
    static constexpr Milliseconds kHealthy = 30'000;  // who lived this long has not been made in vain
    static constexpr Milliseconds kNever = ~Milliseconds{0};

    // It runs since `now`; nothing is planned for it any more.
    void started(tables::Index process, Milliseconds now) {
        entries_[process].due = kNever;
        entries_[process].born = now;
    }
    // It died of itself.
    void died(tables::Index process, Milliseconds now) {
        Entry& e = entries_[process];
        if (now - e.born >= kHealthy) {
            e.delay = kFirst;
        }
        e.due = now + e.delay;
        e.delay = e.delay < kLast / 2 ? e.delay * 2 : kLast;
    }
    // Somebody ended it: that says nothing about its health.
    void ended(tables::Index process, Milliseconds now) { entries_[process].due = now + kFirst; }

    bool pending(tables::Index process) const { return entries_[process].due != kNever; }
    // Until it is made again; 0 also if that is overdue or not planned.
    Milliseconds left(tables::Index process, Milliseconds now) const {
        const Milliseconds due = entries_[process].due;
        return due != kNever && due > now ? due - now : 0;
    }
    // The earliest moment at which something is due; kNever: nothing is planned.
    Milliseconds next() const {
        Milliseconds earliest = kNever;
        for (const Entry& e : entries_) {
            earliest = e.due < earliest ? e.due : earliest;
        }
        return earliest;
    }
    // A process that is due, the first in the tables' order (those that others depend on); kNone: there is none.
    tables::Index due(Milliseconds now) const {
        for (std::size_t i = 0; i < entries_.size(); ++i) {
            if (entries_[i].due <= now) {
                return static_cast<tables::Index>(i);
            }
        }
        return tables::kNone;
    }

private:
    struct Entry {
        Milliseconds due = kNever;
        Milliseconds born = 0;
        Milliseconds delay = kFirst;
    };
    std::array<Entry, kMaxProcesses> entries_{};
};

}  // namespace twain::init
