// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The kernel's binary interface: everything that user code and the kernel must agree on.
// docs/kernel-api.md describes every call: arguments, rights, errors, cost.
#pragma once

#include <cstddef>
#include <cstdint>

namespace twain::abi {

inline constexpr std::uint32_t kVersion = 1;

using Slot = std::uint32_t;  // index into the caller's capability space; 0 is always empty

// ---------------------------------------------------------------------------------------------
// System calls: the SVC immediate.
//
//   in   x0 capability   x1 tag (call, reply_wait) or method (invoke)   x2..x7 payload
//   out  x0 badge        x1 tag                                         x2..x7 payload
//
// A call destroys x8..x18 from the caller's point of view (they may hold anything of the caller's
// own) and keeps x19..x30, SP, the FP/SIMD registers and TPIDR_EL0.
enum class Sys : std::uint16_t {
    call = 0,        // x0 endpoint, x1 tag, x2..x7 message -> reply
    reply_wait = 1,  // x0 endpoint; x1, x2..x7 reply to the current caller if there is one -> message
    wait = 2,        // x0 endpoint or notification, x1 deadline (ticks, absolute) -> message
    signal = 3,      // x0 notification
    vcpu_run = 4,    // x0 vcpu -> x1 tag whose label is an Exit
    invoke = 5,      // x0 capability, x1 method, x2..x7 arguments -> x1 status, x2..x7 results
    yield = 6,       // give up the processor to the next thread of the same priority
    log = 7,         // x0 system (right: log), x1 number of bytes (0..48), x2..x7 the bytes
};

// Deadlines count ticks of the physical counter (CNTPCT_EL0).
inline constexpr std::uint64_t kForever = ~std::uint64_t{0};  // never times out
inline constexpr std::uint64_t kPoll = 0;                     // do not block

// ---------------------------------------------------------------------------------------------
// Tag (x1):   63     56 55      48 47            34   33   32 31            0
//            +---------+----------+----------------+----+----+--------------+
//            |  error  | argument |      zero      |note|cap |    label     |
//            +---------+----------+----------------+----+----+--------------+
// error and argument are written by the kernel only; what a sender puts there is cleared.
//   cap   sent: x7 names a slot whose capability goes along, as a derived copy.
//         received: a capability has arrived in the receive slot; x7 is that slot.
//   note  received: not a message but the bound (or awaited) notification; x2 holds its bits.
inline constexpr std::uint64_t kTagCap = std::uint64_t{1} << 32;
inline constexpr std::uint64_t kTagNote = std::uint64_t{1} << 33;
inline constexpr unsigned kTagErrorShift = 56;
inline constexpr unsigned kTagArgShift = 48;

enum class Error : std::uint8_t {
    none = 0,
    bad_slot = 1,     // no such slot, or the slot is empty
    bad_type = 2,     // the capability is of another type
    rights = 3,       // the capability lacks a right
    bad_arg = 4,      // a value out of its range, misaligned, or whose sum wraps
    occupied = 5,     // the destination is in use: slot, address range, binding
    no_memory = 6,    // the pool (or the slot table) is exhausted
    busy = 7,         // the object's state forbids it now: has children, is running, has a caller
    cancelled = 8,    // the partner went away, or somebody cancelled
    timeout = 9,      // the deadline passed (poll: nothing there)
    bad_method = 10,  // the type has no such method
    no_server = 11,   // a remote or donated call that the server's scheduling context cannot take
    depth = 12,       // the derivation tree would get too deep
    dying = 13,       // the capability is being revoked
    unsupported = 14  // this machine cannot do it
};

constexpr Error tag_error(std::uint64_t tag) { return static_cast<Error>(tag >> kTagErrorShift); }
constexpr unsigned tag_arg(std::uint64_t tag) { return static_cast<unsigned>(tag >> kTagArgShift) & 0xff; }
constexpr std::uint32_t tag_label(std::uint64_t tag) { return static_cast<std::uint32_t>(tag); }

// ---------------------------------------------------------------------------------------------
// Objects
enum class Type : std::uint8_t {
    null = 0,
    pool = 1,
    cspace = 2,
    memory = 3,
    mapping = 4,  // one mapped range; deleting the capability unmaps it
    space = 5,
    thread = 6,
    sched = 7,
    endpoint = 8,
    reply = 9,
    notification = 10,
    irq = 11,
    vcpu = 12,
    system = 13,
};

// Rights, per type. A copy has at most its parent's rights.
namespace rights {
inline constexpr std::uint8_t all = 0xff;
// pool
inline constexpr std::uint8_t pool_create = 1;
// cspace
inline constexpr std::uint8_t cspace_insert = 1, cspace_remove = 2, cspace_inspect = 4;
// memory: the first three bound what a mapping may do; own: split and make_pool
inline constexpr std::uint8_t mem_read = 1, mem_write = 2, mem_exec = 4, mem_own = 8;
// mapping
inline constexpr std::uint8_t mapping_protect = 1;
// space
inline constexpr std::uint8_t space_map = 1, space_use = 2;  // use: give it to a thread or vCPU
// thread
inline constexpr std::uint8_t thread_control = 1, thread_regs = 2;
// sched
inline constexpr std::uint8_t sched_bind = 1, sched_configure = 2;
// endpoint
inline constexpr std::uint8_t ep_call = 1, ep_receive = 2, ep_pass = 4;  // pass: send capabilities
// reply
inline constexpr std::uint8_t reply_use = 1;
// notification
inline constexpr std::uint8_t note_signal = 1, note_wait = 2, note_arm = 4;
// irq
inline constexpr std::uint8_t irq_bind = 1, irq_ack = 2;
// vcpu
inline constexpr std::uint8_t vcpu_run = 1, vcpu_kick = 2, vcpu_configure = 4;
// system
inline constexpr std::uint8_t sys_mint = 1, sys_power = 2, sys_log = 4, sys_info = 8, sys_firmware = 16;
}  // namespace rights

// ---------------------------------------------------------------------------------------------
// Methods (invoke, x1). Arguments in x2..x7, results in x2..x7.
// A "slot" argument names a slot of the invoker's own capability space unless stated otherwise.
// New capabilities are children, in the derivation tree, of the capability they were made from:
// deleting or revoking that one deletes them, and an object dies with its first capability.

namespace pool {
//   create  x2 type, x3 destination slot, x4.. parameters:
//             cspace        -
//             space         x4 SpaceKind
//             thread        -
//             endpoint      x4 home core
//             reply         -
//             notification  -
//             vcpu          x4 slot of a guest space (right: use), x5 MPIDR affinity of the vCPU
//   stat    -> x2 bytes in all, x3 bytes free
//   split   x2 bytes (4K multiple, >= 16K), x3 destination slot: what was never used becomes a pool of its own
enum Method : std::uint32_t { create = 0, stat = 1, split = 2 };
}  // namespace pool

namespace cspace {
//   copy     x2 destination slot in this space, x3 source slot (own), x4 rights mask, x5 badge (0: keep;
//            only an unbadged endpoint or notification can be given one)
//   remove   x2 slot in this space: revoke, then empty it
//   revoke   x2 slot in this space: delete everything derived from it
//   inspect  x2 slot in this space -> x2 type | rights << 8 | flags << 16, x3 badge, x4 object id,
//            x5 first address, x6 bytes (memory, mapping: physical base; mapping: x4 id of the space,
//            x7 virtual address)
enum Method : std::uint32_t { copy = 0, remove = 1, revoke = 2, inspect = 3 };
// There is no move. A capability stays where it was made until it is removed, so everything that removing it
// takes along (what was derived from it, what lies in a capability space made from it) was made later than it
// was: the order of removal is well founded, without a cycle ever.
inline constexpr std::uint32_t kSlots = 8192;
inline constexpr std::uint64_t kInspectExclusive = 1 << 16;  // memory: no other capability overlaps
inline constexpr std::uint64_t kInspectDevice = 1 << 17;     // memory: device
}  // namespace cspace

namespace memory {
//   split      x2 bytes to keep (4K multiple), x3 destination slot for the rest. Only an exclusive capability
//              without children; both parts stay exclusive.
//   derive     x2 offset, x3 bytes, x4 destination slot, x5 rights mask: a child over a sub-range
//   make_pool  x2 destination slot: the range becomes kernel memory (exclusive, no children, >= 16K)
enum Method : std::uint32_t { split = 0, derive = 1, make_pool = 2 };
}  // namespace memory

enum class SpaceKind : std::uint8_t { host = 0, guest = 1, dma = 2 };  // dma: only with an SMMU

namespace space {
//   map   x2 memory slot (or kInterface), x3 offset in it, x4 virtual (guest: intermediate physical) address, x5 bytes,
//         x6 rights (mem_read|write|exec), x7 destination slot of the mapping capability.
//         All 4K multiples; the kernel picks 4K, 2M and 1G descriptors by alignment.
enum Method : std::uint32_t { map = 0 };
// In place of memory, and for guest spaces only: the virtual CPU interface, where it is memory (VcpuPage::gic is 2).
inline constexpr std::uint64_t kInterface = ~std::uint64_t{0}, kInterfaceBytes = 0x2000;
inline constexpr std::uint64_t kEnd = std::uint64_t{1} << 39;  // addresses are below this
}  // namespace space

namespace mapping {
//   protect  x2 rights (at most the memory capability's)
enum Method : std::uint32_t { protect = 0 };
}  // namespace mapping

namespace thread {
//   configure  x2 cspace, x3 space, x4 fault endpoint, x5 sched, x6 notification to bind; 0 keeps what is
//              there. The thread must be stopped. Each is held as a derived capability.
//   start      x2 PC, x3 SP, x4 x0, x5 x1 (all other registers zero)
//   stop       cancels what the thread waits for
//   resume     lets a stopped or faulted thread go on
//   read       x2 first register -> x3..x7 five registers (0..30 Xn, 31 SP, 32 PC, 33 PSTATE, 34 TPIDR_EL0)
//   write      x2 first register, x3 how many (1..4), x4..x7 values; the thread must be stopped
//   receive    x2 slot for received capabilities (0: none)
//   state      -> x2 ThreadState, x3 fault kind, x4 fault address, x5 PC, x6 ticks used, x7 object id
enum Method : std::uint32_t { configure, start, stop, resume, read, write, receive, state };
}  // namespace thread

enum class ThreadState : std::uint8_t { stopped, ready, calling, receiving, waiting, replying, faulted, guest };

namespace sched {
//   configure  x2 budget ticks, x3 period ticks (0: no limit), x4 SchedParam
//   stat       -> x2 ticks used since creation, x3 budget, x4 period, x5 priority, x6 core
enum Method : std::uint32_t { configure = 0, stat = 1 };
// SchedParam: [7:0] priority (0 lowest .. 63), [15:8] core, [16] hard limit (else background when exhausted)
inline constexpr std::uint64_t kHardLimit = 1 << 16;
inline constexpr unsigned kPriorities = 64;
}  // namespace sched

namespace reply {
//   capture  take over the invoking thread's current caller
//   send     x2 tag, x3..x7 the first five words of the reply (the sixth arrives as zero)
enum Method : std::uint32_t { capture = 0, send = 1 };
}  // namespace reply

namespace notification {
//   arm  x2 deadline (ticks; kForever disarms): signals the capability's badge then
enum Method : std::uint32_t { arm = 0 };
}  // namespace notification

namespace irq {
//   bind  x2 notification slot: signals its badge when the interrupt comes (0 unbinds)
//   ack   lets the next one come
enum Method : std::uint32_t { bind = 0, ack = 1 };
}  // namespace irq

namespace vcpu {
//   page  x2 memory slot (read, write), x3 offset: the 4K state page (and the page behind it, if there is one)
//   kick  x2 KickReason: makes a running or sleeping vCPU look at its posted interrupts (0), or makes
//         vcpu_run return with Exit::kicked (1)
//   sync  x2 mask of register groups: writes what is live on a core into the state page and makes the page
//         the valid copy. Only while the vCPU does not run.
// Only where the kernel is at EL1 (docs/kernel-el1.md); elsewhere unsupported. Roots are numbered 1 .. kShadowRoots - 1.
//   fill  x2 n: installs the first n entries of the page's ShadowState::fill -> x2 how many; no_memory: drop something
//   view  x2 view, x3 root of the lower half, x4 root of the upper half (0: nothing)
//   drop  x2 root, x3 address, x4 bytes: forgets translations; bytes 0: all of the root
enum Method : std::uint32_t { page = 0, kick = 1, sync = 2, fill = 3, view = 4, drop = 5 };
inline constexpr std::uint64_t kKickLook = 0, kKickExit = 1;
}  // namespace vcpu

namespace system {
//   make_sched   x2 pool slot, x3 destination, x4 budget ticks, x5 period ticks, x6 SchedParam   (mint)
//   make_irq     x2 pool slot, x3 destination, x4 INTID, x5 flags (1 edge), x6 core              (mint)
//   make_memory  x2 destination, x3 physical base, x4 bytes: device memory; never RAM, never the
//                interrupt controller                                                            (mint)
//   power        x2 0 off, 1 reset                                                               (power)
//   log_read     x2 position -> x2 next position, x3 number of bytes (0..32), x4..x7 the bytes   (log)
//   uart         x2 0 the kernel stops using the UART, 1 it may use it again                     (power)
//   info         x2 core -> x2 cores, x3 ticks per second, x4 idle ticks of that core, x5 kernel
//                version, x6 exception level, x7 boot flags                                      (info)
//   attach       x2 DMA space (use), or 0: none; x3 stream: what the device of that stream reaches (mint)
//   dma_fault    -> x2 kind (Arm IHI 0070 7.3; 0: none), x3 stream, x4 address: what a device was refused, the oldest
//                first; forgotten when read                                                      (info)
//   firmware     x2 fast call (SMCCC), x3..x7 its first five arguments -> x2..x5 its results; not PSCI, not SDEI   (firmware)
enum Method : std::uint32_t {
    make_sched,
    make_irq,
    make_memory,
    power,
    log_read,
    uart,
    info,
    attach,
    dma_fault,
    firmware
};
inline constexpr std::uint64_t kPowerOff = 0, kPowerReset = 1;
}  // namespace system

// ---------------------------------------------------------------------------------------------
// A fault is a call, made by the kernel in the thread's name, to the thread's fault endpoint:
//   label FaultKind, x2 ESR, x3 FAR, x4 PC, x5 SP, x6 object id of the thread; the badge is the endpoint capability's.
// A reply with label 0 lets the thread go on, any other leaves it stopped.
enum class FaultKind : std::uint32_t { none, data, instruction, alignment, undefined, svc, other };

// ---------------------------------------------------------------------------------------------
// vCPU state page: 4 KiB that the kernel and the VMM share. The kernel reads each field once per entry, and
// never takes its own decisions from what it wrote there. Everything in it belongs to the guest.
enum class Exit : std::uint32_t {
    trap = 0,    // esr, far, ipa say why; pc points at the trapped instruction (HVC: behind it)
    eoi = 1,     // interrupts posted with kVirqNotify have ended: see retired
    kicked = 2,  // somebody asked for the exit
    timer = 3,   // the guest's virtual timer fires while the VMM keeps it disabled (never in normal use)
};

inline constexpr unsigned kVirqs = 64;  // posted interrupts per vCPU
// Virq word: [15:0] INTID, [23:16] priority, [24] notify at EOI, [27:25] who sent it (an SGI, where VcpuPage::gic is 2)
inline constexpr std::uint32_t kVirqNotify = 1u << 24;
inline constexpr unsigned kVirqSourceShift = 25;

// Register groups for `loaded` (VMM -> kernel) and `sync`.
inline constexpr std::uint32_t kGroupEl1 = 1, kGroupTimer = 2, kGroupFp = 4, kGroupAll = 7;
// In `loaded` only: the virtual CPU interface begins anew, with nothing pending or active (a vCPU that is reset).
inline constexpr std::uint32_t kGroupInterrupts = 8;

struct El1State {  // Arm ARM D17.2
    std::uint64_t sp_el1, elr_el1, spsr_el1, sctlr_el1, cpacr_el1, ttbr0_el1, ttbr1_el1, tcr_el1;
    std::uint64_t mair_el1, amair_el1, vbar_el1, contextidr_el1, tpidr_el0, tpidrro_el0, tpidr_el1, esr_el1;
    std::uint64_t far_el1, afsr0_el1, afsr1_el1, par_el1, cntkctl_el1, csselr_el1, actlr_el1;
    std::uint64_t mdscr_el1;  // read at each entry, never written: of it kMdscrStep acts
};
// SS and KDE: single steps are the guest's own debug exceptions. Breakpoints and watchpoints are nobody's (MDE stays clear).
inline constexpr std::uint64_t kMdscrStep = 1 << 0, kMdscrKernel = 1 << 13;
inline constexpr std::uint64_t kPstateStep = 1 << 21;  // PSTATE.SS

// A guest where EL2 is not ours runs at EL0 as a whole, on translations that the VMM derives from the guest's own
// tables. Bits of ShadowFill::to:
inline constexpr unsigned kShadowRoots = 64, kShadowViews = 128, kShadowFills = 64;
inline constexpr std::uint64_t kFillRead = 1, kFillWrite = 2, kFillExecute = 4;
inline constexpr std::uint64_t kFillBlock = 8;      // its 2 MiB are as uniform as the page: map them all if possible
inline constexpr std::uint64_t kFillFragment = 16;  // part of a larger block of the guest's: goes with its 2 MiB

// ShadowState::flags. Swapped: the guest kernel runs from rewritten text. At virtual EL1 TPIDR_EL0 holds the guest's SP_EL0
// and TPIDRRO_EL0 the address of its shared registers. Slow return: kShadowReturn exits.
inline constexpr std::uint64_t kShadowSwapped = 1, kShadowSlowReturn = 2;

// Immediates of SVC with a meaning at virtual EL1. From virtual EL0 they are system calls like any other.
inline constexpr std::uint32_t kShadowReturn = 0x7477;    // ERET
inline constexpr std::uint32_t kShadowUnmasked = 0x7478;  // an interrupt waits, and is not masked any more
inline constexpr std::uint32_t kShadowTable0 = 0x7480;    // + n: MSR TTBR0_EL1, Xn
inline constexpr std::uint32_t kShadowTable1 = 0x74a0;    // + n: MSR TTBR1_EL1, Xn

// Registers that a swapped guest's kernel reads and writes without a trap, in the page behind the state page (which is then
// bound with it, if the memory reaches so far), kSharedOffset bytes into it. The guest may write all of it at any time:
// kernel and VMM take the values as those of its registers, and nothing else. `pending` and `midr` are only shown.
struct SharedRegisters {
    std::uint64_t daif, elr_el1, spsr_el1, esr_el1, far_el1, tpidr_el1, tpidr_el0, tpidrro_el0;
    std::uint64_t contextidr_el1, ttbr1_el1, midr_el1, pending;
};
inline constexpr std::uint64_t kSharedOffset = 0x3c0;  // see vmm/shadow/stub.cpp

// What the kernel may switch to by itself when the guest's kernel writes TTBR0_EL1.
struct ShadowSpace {
    std::uint64_t ttbr0, ttbr1;  // exact values; ttbr0 ~0: none
    std::uint32_t view[2];
};
// It is one of kShadowWays from here on.
inline constexpr unsigned kShadowWays = 4, kShadowSpaces = 8 * kShadowWays;
constexpr unsigned shadow_space(std::uint64_t ttbr0, std::uint64_t ttbr1) {
    const std::uint64_t hash = ((ttbr0 >> 12) + (ttbr1 >> 48)) * 0x9e37'79b1;
    return static_cast<unsigned>(hash >> 16) * kShadowWays % kShadowSpaces;
}

struct ShadowFill {
    std::uint64_t at;  // virtual address, 4K aligned, plus the number of the root in [5:0]
    std::uint64_t to;  // intermediate physical address, 4K aligned, plus kFill bits; must be mapped in the guest space
};

struct ShadowState {
    // Written by the VMM, read at each entry.
    std::uint32_t view[2];   // of virtual EL0, of virtual EL1; also written by the kernel, see ShadowSpace
    std::uint32_t irq;       // nonzero: an interrupt waits; the kernel lets the vCPU take it when PSTATE.I allows it
    std::uint32_t level;     // written by the kernel when the page is bound: its exception level
    std::uint64_t deadline;  // ticks: vcpu_run returns with Exit::timer then; kForever: never
    std::uint64_t midr;      // written by the kernel when the page is bound: MIDR_EL1 of the core
    std::uint64_t boot;      // written by the kernel when the page is bound: BootInfo::flags
    std::uint64_t vectored;  // written by the kernel: system calls and interrupts that it took to virtual EL1
    std::uint64_t flags;
    std::uint64_t icache;              // nonzero: the kernel invalidates the instruction cache, and clears it
    std::uint64_t shared;              // address of the shared registers at virtual EL1
    std::uint64_t moved;               // written by the kernel: TTBR1_EL1 has another ASID than `view` was chosen for
    ShadowSpace space[kShadowSpaces];  // written by the VMM
    ShadowFill fill[kShadowFills];
};

struct VcpuPage {
    // Registers, written at each exit and read at each entry.
    std::uint64_t x[31];
    std::uint64_t sp_el0;
    std::uint64_t pc;
    std::uint64_t pstate;  // mode and mask bits are sanitized at entry
    // Exit information: written by the kernel.
    std::uint64_t esr;
    std::uint64_t far;
    std::uint64_t ipa;  // from HPFAR_EL2 and FAR: the faulting intermediate physical address
    std::uint32_t exit_reason;
    std::uint32_t version;  // abi::kVersion, written when the page is bound
    // Control: written by the VMM.
    std::uint64_t loaded;   // groups that the VMM has changed in this page; the kernel clears it at entry
    std::uint64_t cntvoff;  // ticks; taken at entry
    std::uint32_t vtimer;   // [7:0] priority of PPI 27, [8] enabled at the redistributor
    std::uint32_t vmpidr;   // affinity that the guest sees in MPIDR_EL1
    std::uint64_t vpidr;    // what the guest sees in MIDR_EL1 (0: the core's own)
    // Virtual interrupts. Entry i is free while the VMM says so; the VMM writes virq[i], then sets bit i
    // of `posted`. The kernel takes bits of `posted` and `recalled` and gives `retired`, atomically.
    std::uint64_t posted;    // VMM -> kernel: make virq[i] pending (again)
    std::uint64_t recalled;  // VMM -> kernel: take back virq[i] if it is not active
    std::uint64_t retired;   // kernel -> VMM: entry i is over (ended, or recalled)
    std::uint64_t pending;   // kernel -> VMM: a picture taken at the last exit
    std::uint64_t active;
    std::uint32_t gic;  // written when the page is bound: the guest's virtual CPU interface is that of GIC version 3
                        // (system registers) or 2 (memory: space::kInterface); 0: the kernel has none for it
    std::uint32_t reserved0[3];
    std::uint32_t virq[kVirqs];
    // EL1 registers: valid after sync(kGroupEl1); loaded at entry if `loaded` says so.
    El1State el1;
    // Virtual timer: valid after sync(kGroupTimer).
    std::uint64_t cntv_ctl;
    std::uint64_t cntv_cval;
    // FP/SIMD: valid after sync(kGroupFp).
    alignas(16) std::uint64_t fpcr;
    std::uint64_t fpsr;
    alignas(16) std::uint64_t v[64];
    // Counters, written by the kernel.
    std::uint64_t exits;      // all traps and interrupts that left the guest
    std::uint64_t exits_vmm;  // of which returned from vcpu_run
    std::uint64_t exits_irq;
    std::uint64_t exits_wfi;
    // Ticks, written by the kernel. `away`: what was done, and by this thread alone, from an exit to the VMM to the entry after it;
    // 0 if that exit ended an attempt to enter.
    std::uint64_t left;  // when the exit came; 0: the guest runs
    std::uint64_t away;
    std::uint64_t reserved1[2];
    ShadowState shadow;  // only where the kernel is at EL1
};
static_assert(offsetof(VcpuPage, sp_el0) == 248 && offsetof(VcpuPage, pc) == 256 && offsetof(VcpuPage, pstate) == 264);
static_assert(sizeof(VcpuPage) <= 4096);

// ---------------------------------------------------------------------------------------------
// Boot information: written by the loader, read by the kernel, mapped read-only into the root task at
// kBootInfoAddress. All addresses are physical.
inline constexpr std::uint64_t kBootMagic = 0x3149424e49415754;  // "TWAINBI1"
inline constexpr unsigned kMaxCores = 8, kMaxRam = 4, kMaxModules = 32, kMaxSegments = 4, kMaxSeed = 32;
inline constexpr std::uint64_t kBootInfoAddress = 0x1000;  // in the root task
inline constexpr std::uint64_t kRootStackTop = 0x4000'0000, kRootStackBytes = 0x10000;

// Verbose, test image: as the image was made. Naive shadow: the word "shadow=naive" in the device tree's bootargs; guests
// without EL2 have every privileged instruction trap, to compare with.
inline constexpr std::uint32_t kBootVerbose = 1, kBootTest = 2, kBootNaiveShadow = 4;

struct Range {
    std::uint64_t base;
    std::uint64_t bytes;
};

struct Segment {            // of the root task
    std::uint64_t address;  // virtual, 4K aligned
    std::uint64_t phys;     // 4K aligned; `bytes` of RAM there hold the contents, zero-filled by the loader
    std::uint64_t bytes;    // 4K multiple
    std::uint64_t rights;   // mem_read|write|exec, never write and exec
};

struct Module {  // a file of the archive that the image carries
    char name[48];
    std::uint64_t phys;   // 4K aligned
    std::uint64_t bytes;  // exact size; padded with zeroes to 4K
};

struct BootInfo {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t bytes;
    char build_id[40];  // hex digits, zero-terminated
    Range ram[kMaxRam];
    std::uint32_t ram_count;
    std::uint32_t core_count;
    std::uint64_t mpidr[kMaxCores];  // affinity fields; [0] is the boot core
    // Interrupt controller
    std::uint32_t gic_version;  // 2 or 3
    std::uint32_t maintenance_intid;
    Range gicd;
    Range gicr;  // version 3: all redistributors, 128K each; version 2: GICC
    Range gich;  // version 2: GICH; GICV follows in gicv
    Range gicv;
    Range smmu;  // SMMUv3, two pages of 64K; bytes 0: none
    std::uint32_t timer_hyp_intid, timer_virt_intid, timer_phys_intid;
    std::uint32_t uart_intid;
    Range uart;                  // PL011 of /chosen/stdout-path; bytes 0: none
    std::uint32_t psci_conduit;  // 0 none, 1 smc, 2 hvc
    std::uint32_t flags;         // kBoot bits
    // What the image holds
    Range image;    // everything that the loader placed: never given out as free RAM
    Range kernel;   // text, data, bss, page tables and stacks of the kernel
    Range archive;  // the modules
    std::uint64_t root_entry;
    Segment root[kMaxSegments];
    std::uint32_t root_count;
    std::uint32_t module_count;
    Module modules[kMaxModules];
    std::uint64_t seed_bytes;  // 0: the machine's firmware offers no random numbers
    std::uint8_t seed[kMaxSeed];
};
static_assert(sizeof(BootInfo) <= 4096);

// The root task's first capabilities. RAM that is neither image nor boot information comes as exclusive
// memory capabilities from kRootRam on, largest first; the archive is one read-only memory capability.
inline constexpr Slot kRootCSpace = 1, kRootSpace = 2, kRootThread = 3, kRootSystem = 4, kRootPool = 5, kRootSched = 6,
                      kRootBootInfo = 7, kRootArchive = 8, kRootRam = 16, kRootRamCount = 8, kRootFree = 32;

}  // namespace twain::abi
