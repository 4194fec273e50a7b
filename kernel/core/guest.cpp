// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Who runs which vCPU, who sleeps, and who is kicked. Its registers are the architecture's.
#include "kernel/core/guest.hpp"

#include "kernel/core/ipc.hpp"
#include "kernel/core/pool.hpp"
#include "kernel/core/scheduler.hpp"
#include "switch.hpp"

namespace twain::kernel {

namespace {

// Off whatever core holds it. Structure lock.
void take_off(Vcpu& vcpu) {
    if (vcpu.live == Vcpu::kNowhere) return;
    run_on(vcpu.live, [&] {
        Cpu& cpu = machine::cpu();
        if (cpu.loaded == &vcpu) guest_unload(cpu);
    });
}

// As long as it exists, nobody begins to run the vCPU who does not do so already. vcpu_run takes no lock: it shows that
// it runs, then looks whether it may; this one shows that it may not, then looks whether somebody runs. Structure lock.
class Hold {
public:
    explicit Hold(Vcpu& vcpu) : vcpu_(vcpu) {
        vcpu_.held.release(true);
        machine::barrier();
    }
    ~Hold() { vcpu_.held.release(false); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

private:
    Vcpu& vcpu_;
};

// Nobody runs it, and no core holds it any more. It is held.
void release(Vcpu& vcpu) {
    if (Thread* const runner = vcpu.runner.acquire()) stop(*runner);
    if (vcpu.page) take_off(vcpu);
}

// The thread is the one that runs the vCPU, or is told that it cannot be.
[[gnu::always_inline]] inline bool claim(Vcpu& vcpu, Thread& self) {
    if (vcpu.page && vcpu.runner.replace(nullptr, &self)) [[likely]] {
        machine::barrier();
        if (vcpu.page && vcpu.space && !vcpu.held.acquire()) [[likely]]
            return true;
        vcpu.runner.release(nullptr);
    }
    self.set_result(Status(Error::busy).tag());
    return false;
}

void begin(Cpu& cpu, Thread& self, Vcpu& vcpu) {
    self.vcpu = &vcpu;
    self.state = State::guest;
    machine::leave_thread(cpu, self);
    guest_enter(cpu, self);
}

// Another core holds its registers. Waiting for the lock may stop this thread, or take the vCPU away.
[[gnu::noinline]] void fetch(Cpu& cpu, Thread& self, Vcpu& vcpu) {
    const StructureLock lock(StructureLock::kCall);
    if (cpu.current != &self) return;
    const Capability cap = self.cspace->load(self.frame.x[0]);
    if (!cap.has(abi::Type::vcpu, abi::rights::vcpu_run) || &cap.object<Vcpu>() != &vcpu) {
        self.set_result(Status(Error::bad_slot).tag());
        return;
    }
    if (!claim(vcpu, self)) return;
    take_off(vcpu);
    begin(cpu, self, vcpu);
}

}  // namespace

// Only whom nobody can come before any more looks where the registers are.
void run_vcpu(Cpu& cpu, Vcpu& vcpu) {
    Thread& self = *cpu.current;
    if (!claim(vcpu, self)) return;
    if (vcpu.live == cpu.id || vcpu.live == Vcpu::kNowhere) [[likely]] {
        begin(cpu, self, vcpu);
    } else {
        vcpu.runner.release(nullptr);
        fetch(cpu, self, vcpu);
    }
}

void sys_vcpu_run(Cpu& cpu) {
    Thread& self = *cpu.current;
    const Capability cap = self.cspace->load(self.frame.x[0]);
    if (!cap.has(abi::Type::vcpu, abi::rights::vcpu_run)) [[unlikely]] {
        self.set_result(cap.lacks(abi::Type::vcpu).tag());
        return;
    }
    run_vcpu(cpu, cap.object<Vcpu>());
}

void guest_refuse(Cpu& cpu, Thread& thread, abi::Exit reason) {
    abi::VcpuPage& page = *thread.vcpu->page;
    page.exit_reason = static_cast<u32>(reason);
    if (page.left) page.away = 0;
    if (!page.left) page.left = machine::counter();
    guest_finish(cpu, thread, static_cast<u64>(reason));
    machine::enter_thread(cpu, thread);
}

void guest_wake(Cpu& cpu, Thread& thread) {
    Vcpu& vcpu = *thread.vcpu;
    if (machine::kVmmInjects) (void)vcpu.kicks.add_bits(Vcpu::kLook);
    if (!vcpu.sleeping) return;
    vcpu.sleeping = false;
    disarm(cpu, thread);
    make_ready(cpu, thread);
}

Status guest_kick(Cpu& cpu, Vcpu& vcpu, u64 reason) {
    if (reason > abi::vcpu::kKickExit) return {Error::bad_arg, 2};
    const bool exit = reason == abi::vcpu::kKickExit;
    machine::barrier();
    if (!exit && !vcpu.runner.acquire()) return {};  // the next entry looks anyway
    if (vcpu.kicks.add_bits(exit ? Vcpu::kExit : Vcpu::kLook)) return {};
    machine::barrier();
    Thread* runner = vcpu.runner.acquire();
    if (!runner) return {};
    runner->core == cpu.id ? guest_wake(cpu, *runner) : post_mail(*runner);
    return {};
}

Status guest_sync(Vcpu& vcpu, u64 groups) {
    if (groups & ~u64{abi::kGroupAll}) return {Error::bad_arg, 2};
    const Hold hold(vcpu);
    if (vcpu.runner || !vcpu.page) return {Error::busy, 0};
    if (groups & machine::kGroupsInCore) take_off(vcpu);
    return {};
}

void guest_destroy(Vcpu& vcpu) {
    const Hold hold(vcpu);
    release(vcpu);
}

void guest_lose_reference(Slot& slot) {
    Vcpu& vcpu = Pool::holder<Vcpu>(&slot);
    const Hold hold(vcpu);
    release(vcpu);
    if (&slot == &vcpu.refs[Vcpu::ref_page]) vcpu.page = nullptr;
    if (&slot == &vcpu.refs[Vcpu::ref_space]) vcpu.space = nullptr;
    synchronize();  // guest_translate takes no lock: nobody is reading what the page says any more
}

}  // namespace twain::kernel
