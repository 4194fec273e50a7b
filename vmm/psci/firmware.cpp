// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "vmm/psci/firmware.hpp"

#include <array>
#include <initializer_list>

namespace twain::vmm {
namespace {

// Function identifiers without bit 30, which says that arguments are 64 bits wide.
enum Function : std::uint32_t {
    kSmcccVersion = 0x8000'0000,
    kSmcccArchFeatures = 0x8000'0001,
    kPsciVersion = 0x8400'0000,
    kCpuSuspend = 0x8400'0001,
    kCpuOff = 0x8400'0002,
    kCpuOn = 0x8400'0003,
    kAffinityInfo = 0x8400'0004,
    kMigrateInfoType = 0x8400'0006,
    kSystemOff = 0x8400'0008,
    kSystemReset = 0x8400'0009,
    kPsciFeatures = 0x8400'000a,
    kSystemReset2 = 0x8400'0012,
    kTrngVersion = 0x8400'0050,
    kTrngFeatures = 0x8400'0051,
    kTrngUuid = 0x8400'0052,
    kTrngRandom = 0x8400'0053,
};
constexpr std::uint32_t kWide = 0x4000'0000;

constexpr std::uint64_t error(int code) { return static_cast<std::uint64_t>(static_cast<std::int64_t>(code)); }
constexpr std::uint64_t kSuccess = 0;
constexpr std::uint64_t kNotSupported = error(-1);
constexpr std::uint64_t kInvalidParameters = error(-2);
constexpr std::uint64_t kAlreadyOn = error(-4);
constexpr std::uint64_t kOnPending = error(-5);
constexpr std::uint64_t kInvalidAddress = error(-9);
constexpr std::uint64_t kVersion11 = 0x1'0001;
constexpr std::uint64_t kTrngVersion10 = 0x1'0000;
constexpr std::uint64_t kNoTrustedOs = 2;  // MIGRATE_INFO_TYPE

// 5f6bd5a2-90c4-4c6e-8d0b-3b1d6a0f7e94
constexpr std::uint32_t kTrngUuidWords[4] = {0xa2d5'6b5f, 0x6e4c'c490, 0x1d3b'0b8d, 0x947e'0f6a};

// Which functions exist, in which widths: by the low seven bits of those that begin with 0x84.
enum Width : std::uint8_t { kNarrow = 1, kWideToo = 3 };
constexpr std::array<std::uint8_t, 128> kKnown = [] {
    std::array<std::uint8_t, 128> k{};
    for (const Function f : {kPsciVersion, kCpuOff, kMigrateInfoType, kSystemOff, kSystemReset, kPsciFeatures,
                             kTrngVersion, kTrngFeatures, kTrngUuid}) {
        k[f & 0x7f] = kNarrow;
    }
    for (const Function f : {kCpuSuspend, kCpuOn, kAffinityInfo, kSystemReset2, kTrngRandom}) {
        k[f & 0x7f] = kWideToo;
    }
    return k;
}();

bool known(std::uint32_t id) {
    const std::uint32_t function = id & ~kWide;
    if ((function & ~0x7fu) == kPsciVersion) [[likely]] {
        return (kKnown[function & 0x7f] & ((id & kWide) != 0 ? 2 : 1)) != 0;
    }
    return id == kSmcccVersion || id == kSmcccArchFeatures;
}

constexpr bool is_trng(std::uint32_t id) { return (id & ~kWide) >= kTrngVersion && (id & ~kWide) <= kTrngRandom; }

void random_bits(abi::VcpuPage& page, Random& random, std::uint64_t count, bool wide) {
    const unsigned width = wide ? 64 : 32;
    if (count == 0 || count > 3 * width) {
        page.x[0] = kInvalidParameters;
        return;
    }
    page.x[0] = kSuccess;
    // x3 holds the lowest bits; what lies above `count` is zero.
    for (unsigned i = 0; i < 3; ++i) {
        const std::uint64_t valid = count > i * width ? count - i * width : 0;
        const std::uint64_t word = truncate(random.next(), width / 8);
        page.x[3 - i] = valid == 0 ? 0 : valid >= width ? word : word & ((std::uint64_t{1} << valid) - 1);
    }
}

}  // namespace

Firmware::Outcome Firmware::call(abi::VcpuPage& page, Random& random) const {
    const std::uint32_t id = static_cast<std::uint32_t>(page.x[0]);
    const Arguments a{page, (id & kWide) != 0};
    const std::uint32_t function = id & ~kWide;
    std::uint64_t& result = page.x[0];
    Outcome outcome;
    if (!known(id)) {
        result = kNotSupported;
        return outcome;
    }
    switch (function) {
        case kPsciVersion: result = kVersion11; break;
        case kCpuSuspend:
            result = kSuccess;  // every state is a stand-by: context is kept, so a power-down may return here
            outcome.action = Action::suspend;
            break;
        case kCpuOff: outcome.action = Action::stop_vcpu; break;
        case kCpuOn: result = cpu_on(a, outcome); break;
        case kAffinityInfo: result = affinity_info(a); break;
        case kMigrateInfoType: result = kNoTrustedOs; break;
        case kSystemOff: outcome.action = Action::power_off; break;
        case kSystemReset: outcome.action = Action::reset; break;
        case kSystemReset2:
            if (a[1] == 0) {  // SYSTEM_WARM_RESET
                outcome.action = Action::reset;
            } else {
                result = kInvalidParameters;
            }
            break;
        case kPsciFeatures: result = features(static_cast<std::uint32_t>(a[1])); break;
        case kSmcccVersion: result = kVersion11; break;
        case kSmcccArchFeatures:
            result = a[1] == kSmcccVersion || a[1] == kSmcccArchFeatures ? kSuccess : kNotSupported;
            break;
        default: trng(function, a, page, random); break;
    }
    return outcome;
}

void Firmware::trng(std::uint32_t function, const Arguments& a, abi::VcpuPage& page, Random& random) const {
    const std::uint32_t asked = static_cast<std::uint32_t>(a[1]);
    if (!random.trusted()) {
        page.x[0] = kNotSupported;
    } else if (function == kTrngVersion) {
        page.x[0] = kTrngVersion10;
    } else if (function == kTrngFeatures) {
        page.x[0] = is_trng(asked) && known(asked) ? kSuccess : kNotSupported;
    } else if (function == kTrngRandom) {
        random_bits(page, random, a[1], a.wide);
    } else {
        for (unsigned i = 0; i < 4; ++i) {
            page.x[i] = kTrngUuidWords[i];
        }
    }
}

std::uint64_t Firmware::features(std::uint32_t id) const {
    // CPU_SUSPEND: original power_state format, platform-coordinated mode. No other function has flags.
    return known(id) && !is_trng(id) && id != kSmcccArchFeatures ? kSuccess : kNotSupported;
}

std::uint64_t Firmware::cpu_on(const Arguments& a, Outcome& outcome) const {
    if (a[1] >= vcpus_) {  // vCPU n has affinity 0.0.0.n, and the reserved bits must be zero
        return kInvalidParameters;
    }
    if (!memory_.contains({a[2]}, 4) || a[2] % 4 != 0) {
        return kInvalidAddress;
    }
    const VcpuIndex target = static_cast<VcpuIndex>(a[1]);
    switch (power_.request_on(target, {a[2], a[3]})) {
        case PowerStates::OnResult::already_on: return kAlreadyOn;
        case PowerStates::OnResult::on_pending: return kOnPending;
        case PowerStates::OnResult::started: break;
    }
    outcome = {Action::start_vcpu, target};
    return kSuccess;
}

std::uint64_t Firmware::affinity_info(const Arguments& a) const {
    constexpr std::uint64_t kOn = 0, kOff = 1, kPending = 2;
    const auto info = [&](VcpuIndex v) {
        switch (power_.state(v)) {
            case PowerStates::State::on: return kOn;
            case PowerStates::State::off: return kOff;
            default: return kPending;
        }
    };
    if (a[2] == 0) {
        return a[1] < vcpus_ ? info(static_cast<VcpuIndex>(a[1])) : kInvalidParameters;
    }
    // A node above the vCPUs is on while one of them is; they all lie in 0.0.0.
    if (a[2] > 3 || (a[1] & ~std::uint64_t{0xff}) != 0) {
        return kInvalidParameters;
    }
    std::uint64_t result = kOff;
    for (VcpuIndex v = 0; v < vcpus_; ++v) {
        const std::uint64_t one = info(v);
        if (one == kOn) {
            return kOn;
        }
        result = one == kPending ? kPending : result;
    }
    return result;
}

}  // namespace twain::vmm
