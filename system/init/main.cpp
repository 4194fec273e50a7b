// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The root task. The kernel's first thread makes the system; then a thread of its own supervises it, because
// a thread's notification can be bound only while the thread is stopped.
#include <cstdint>

#include "kernel/api/abi.hpp"
#include "rt/thread.hpp"
#include "sys/sys.hpp"
#include "system/init/builder.hpp"
#include "system/init/log.hpp"
#include "system/init/supervisor.hpp"
#include "system/init/tables.hpp"

namespace {

using namespace twain;
using namespace twain::init;

constexpr sys::System kSystemObject{abi::kRootSystem};
// Above drivers, servers and guests: it must be able to stop any of them.
constexpr sys::SchedParam kSupervisorParam{abi::sched::kPriorities - 2, 0, false};
constexpr std::size_t kSupervisorStackBytes = 64 * 1024;

alignas(16) char supervisor_stack[kSupervisorStackBytes];

[[noreturn]] void park() {
    const sys::Notification never{Builder::kParkingNote};
    for (;;) {
        if (!never.wait()) {
            sys::yield();
        }
    }
}

[[noreturn]] void give_up(const Failure& failure) {
    log_failure(failure);
    sys::klog(kSystemObject, "init: the system cannot be made; the machine stays as it is\n");
    park();
}

void supervise(void* supervisor) { static_cast<Supervisor*>(supervisor)->run(); }

Failure start_supervisor(Builder& builder, rt::ThreadStart& start) {
    const sys::Pool pool{Builder::kSystemPool};
    const sys::Thread thread{Builder::kSupervisorThread};
    sys::Status status = pool.create_thread(Builder::kSupervisorThread);
    if (!status) {
        return {"making", "the supervisor's thread", status};
    }
    status = kSystemObject.make_sched(pool, Builder::kSupervisorSched, 0, 0, kSupervisorParam);
    if (!status) {
        return {"making", "the supervisor's scheduling context", status};
    }
    status =
        thread.configure(sys::CSpace{abi::kRootCSpace}, sys::Space{abi::kRootSpace}, sys::Endpoint{},
                         sys::Sched{Builder::kSupervisorSched}, sys::Notification{builder.init_capability("events")});
    if (!status) {
        return {"configuring", "the supervisor's thread", status};
    }
    status = thread.start(rt::thread_entry(), reinterpret_cast<std::uint64_t>(supervisor_stack) + kSupervisorStackBytes,
                          reinterpret_cast<std::uint64_t>(&start));
    return status ? Failure{} : Failure{"starting", "the supervisor's thread", status};
}

}  // namespace

int main() {
    const auto* boot = reinterpret_cast<const abi::BootInfo*>(abi::kBootInfoAddress);
    static Builder builder{tables::kSystem, *boot};
    static Supervisor supervisor{builder};
    static rt::ThreadStart start{supervise, &supervisor};

    sys::klog(kSystemObject, "init: ");
    sys::klog(kSystemObject, tables::kSystem.name);
    sys::klog(kSystemObject, "\n");
    if (const Failure failure = builder.create_system()) {
        give_up(failure);
    }
    if (const sys::Status made = sys::Pool{Builder::kSystemPool}.create_notification(Builder::kParkingNote); !made) {
        give_up({"making", "the parking notification", made});
    }
    supervisor.attach();
    supervisor.start_all();
    if (const Failure failure = start_supervisor(builder, start)) {
        give_up(failure);
    }
    park();
}
