// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Budget: processor time that comes back piece by piece (a sporadic server). What is used in one go is a piece; it
// comes back one period after it began.
//
//   used       ####         ##            #
//   comes back ----- period ----->####         ##            #
//
// The bound: in any window of one period at most `amount` is used, plus an over-run, which is the time from the end
// of the budget until the core takes notice (the longest path through the kernel). An over-run is a debt: what comes
// back pays it first, so over any number of windows there is only one.
//
// At most kPieces are under way. When there would be more, the new one joins the last, which then comes back as if
// it had ended where the new one began: later, never earlier. So there are at most kPieces interruptions a period.
#pragma once

#include "kernel/core/types.hpp"

namespace twain::kernel {

class Budget {
public:
    static constexpr u32 kPieces = 8;

    // Full, with nothing under way. Period 0: nothing comes back by itself; see refill().
    void set(Ticks amount, Ticks period) {
        *this = Budget();
        amount_ = amount;
        period_ = period;
        refill();
    }
    Ticks amount() const { return amount_; }
    Ticks period() const { return period_; }
    bool limited() const { return period_ != 0; }
    bool empty() const { return left_ <= 0; }
    bool full() const { return left_ == static_cast<std::int64_t>(amount_); }
    Ticks left() const { return empty() ? 0 : static_cast<Ticks>(left_); }
    // When it will be used up, if it is used from `since` on; in the past, if it is already.
    Ticks end(Ticks since) const { return since + static_cast<Ticks>(left_); }

    // `ticks` have been used, from the time `from` on.
    void spend(Ticks from, Ticks ticks) {
        left_ -= static_cast<std::int64_t>(ticks);
        if (!limited() || ticks == 0) return;
        const Ticks due = from + period_;
        Piece& last = pieces_[(first_ + count_ - 1) % kPieces];
        if (count_ == kPieces || (count_ && last.due + last.ticks == due)) {
            last.due = due - last.ticks;
            last.ticks += ticks;
            return;
        }
        pieces_[(first_ + count_++) % kPieces] = {due, ticks};
    }

    // The same without a limit, if something is left then; else nothing is done.
    bool spend_slice(Ticks ticks) {
        if (limited() || left_ <= static_cast<std::int64_t>(ticks)) return false;
        left_ -= static_cast<std::int64_t>(ticks);
        return true;
    }

    // Takes back the pieces that are due.
    void collect(Ticks now) {
        for (; count_ && pieces_[first_].due <= now; --count_) {
            left_ += static_cast<std::int64_t>(pieces_[first_].ticks);
            first_ = (first_ + 1) % kPieces;
        }
    }
    void refill() { left_ = static_cast<std::int64_t>(amount_); }

    // When the next piece comes back. There is one, if the budget is limited and empty.
    Ticks next() const { return count_ ? pieces_[first_].due : abi::kForever; }

private:
    struct Piece {
        Ticks due;
        Ticks ticks;
    };

    Ticks amount_ = 0;
    Ticks period_ = 0;
    std::int64_t left_ = 0;
    u32 first_ = 0;
    u32 count_ = 0;
    Piece pieces_[kPieces] = {};
};

}  // namespace twain::kernel
