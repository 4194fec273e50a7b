// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "loader/tree.hpp"

#include <random>

#include "loader/expect.hpp"
#include "trees.hpp"

using namespace twain;
using namespace twain::loader;

namespace {

Machine read(const Tree& tree, std::uint64_t boot_mpidr = 0) {
    Machine machine;
    REQUIRE(check_tree(tree.data(), tree.size()) == nullptr);
    const char* problem = read_tree(tree.data(), boot_mpidr, machine);
    CAPTURE(problem != nullptr ? problem : "");
    REQUIRE(problem == nullptr);
    return machine;
}

std::string refused(const Tree& tree, std::uint64_t boot_mpidr = 0) {
    Machine machine;
    REQUIRE(check_tree(tree.data(), tree.size()) == nullptr);
    const char* problem = read_tree(tree.data(), boot_mpidr, machine);
    return problem != nullptr ? problem : "";
}

// Whatever it holds: no access outside the tree.
void survive(const void* data, std::size_t size) {
    Machine machine;
    if (check_tree(data, size) == nullptr) {
        (void)read_tree(data, 0, machine);
        (void)compare(
            {.gic_versions = 1 << 3, .min_cores = 1, .board = "b", .compatible = "c", .min_ram = 1, .uart_base = 1},
            data, machine);
    }
}

bool operator==(const abi::Range& a, const abi::Range& b) { return a.base == b.base && a.bytes == b.bytes; }

}  // namespace

TEST_CASE("QEMU virt with GICv3 and EL2") {
    const Tree tree{"virt-gic3-el2.dtb"};
    const Machine machine = read(tree);
    CHECK(std::string{machine.compatible} == "linux,dummy-virt");
    REQUIRE(machine.ram.ranges().size() == 1);
    CHECK((machine.ram.ranges()[0] == abi::Range{0x4000'0000, 0x4000'0000}));
    CHECK(machine.core_count == 2);
    CHECK(machine.mpidr[1] == 1);
    CHECK(machine.gic.version == 3);
    CHECK((machine.gic.distributor == abi::Range{0x800'0000, 0x1'0000}));
    CHECK((machine.gic.redistributors == abi::Range{0x80a'0000, 0xf6'0000}));
    CHECK(machine.gic.maintenance_intid == 25);
    CHECK(machine.timer_phys_intid == 30);
    CHECK(machine.timer_virt_intid == 27);
    CHECK(machine.timer_hyp_intid == 26);
    CHECK((machine.uart == abi::Range{0x900'0000, 0x1000}));
    CHECK(machine.uart_intid == 33);
    CHECK(machine.psci == Conduit::smc);
}

TEST_CASE("QEMU virt with GICv2 and EL2") {
    const Machine machine = read(Tree{"virt-gic2-el2.dtb"});
    CHECK(machine.core_count == 4);
    CHECK(machine.gic.version == 2);
    CHECK((machine.gic.redistributors == abi::Range{0x801'0000, 0x1'0000}));
    CHECK((machine.gic.virtual_control == abi::Range{0x803'0000, 0x1'0000}));
    CHECK((machine.gic.virtual_cpu == abi::Range{0x804'0000, 0x1'0000}));
    CHECK(machine.ram.total() == 0x8000'0000);
}

TEST_CASE("a GIC that lacks what the kernel needs is refused") {
    const Gic good = read(Tree{"virt-gic2-el2.dtb"}).gic;
    CHECK(check_gic(good, 2) == nullptr);
    CHECK(check_gic(read(Tree{"virt-gic3-el2.dtb"}).gic, 2) == nullptr);
    CHECK(check_gic(read(Tree{"virt-gic3-el1.dtb"}).gic, 1) == nullptr);
    const auto broken = [&](auto damage) {
        Gic gic = good;
        damage(gic);
        return gic;
    };
    const Gic one_page = broken([](Gic& gic) { gic.redistributors.bytes = 0x1000; });
    CHECK(std::string(check_gic(one_page, 1)).find("GICC_DIR") != std::string::npos);
    for (const Gic& gic :
         {broken([](Gic& g) { g.virtual_control = {}; }), broken([](Gic& g) { g.virtual_cpu = {}; }),
          broken([](Gic& g) { g.virtual_cpu.bytes = 0x1000; }), broken([](Gic& g) { g.virtual_cpu.base += 0x800; })}) {
        CHECK(check_gic(gic, 1) == nullptr);
        REQUIRE(check_gic(gic, 2) != nullptr);
        CHECK(std::string(check_gic(gic, 2)).find("GICV") != std::string::npos);
    }
    CHECK(check_gic(broken([](Gic& gic) { gic.maintenance_intid = 0; }), 2) != nullptr);
}

TEST_CASE("QEMU virt without EL2") {
    const Machine machine = read(Tree{"virt-gic3-el1.dtb"});
    CHECK(machine.psci == Conduit::hvc);
    CHECK(machine.core_count == 1);
    CHECK(machine.ram.total() == 0x2000'0000);
}

TEST_CASE("more cores than the kernel takes, and a boot core that is not the first") {
    const Tree tree{"virt-12-cores.dtb"};
    CHECK(read(tree).core_count == abi::kMaxCores);
    const Machine machine = read(tree, 0x8000'0000 | 3);  // bit 31 of MPIDR_EL1 is no affinity
    CHECK(machine.mpidr[0] == 3);
    CHECK(machine.mpidr[1] == 0);
    CHECK(machine.mpidr[4] == 4);
    CHECK(machine.ram.total() == 0x1'8000'0000);
    CHECK(refused(tree, 0x700) == "the boot core is not among /cpus");
}

TEST_CASE("cores that failed or cannot be started are left out") {
    Tree tree{"virt-gic2-el2.dtb"};
    tree.set("/cpus/cpu@1", "status", "fail");
    tree.set("/cpus/cpu@2", "enable-method", "spin-table");
    tree.set("/cpus/cpu@3", "status", "disabled");  // only not running yet
    const Machine machine = read(tree);
    CHECK(machine.core_count == 2);
    CHECK(machine.mpidr[1] == 3);
}

TEST_CASE("reserved memory is not RAM") {
    Tree tree{"virt-gic3-el2.dtb"};
    tree.set("/reserved-memory", "#address-cells", std::vector<std::uint32_t>{2});
    tree.set("/reserved-memory", "#size-cells", std::vector<std::uint32_t>{2});
    tree.set("/reserved-memory", "ranges", std::vector<std::uint32_t>{});
    tree.set("/reserved-memory/secure@50000800", "reg", {0, 0x5000'0800, 0, 0x1000});
    tree.set("/reserved-memory/dynamic", "size", {0, 0x10'0000});
    tree.edit([](void* fdt) { REQUIRE(fdt_add_mem_rsv(fdt, 0x4000'0000, 0x1000) == 0); });
    const auto machine = read(tree);
    REQUIRE(machine.ram.ranges().size() == 2);
    CHECK((machine.ram.ranges()[0] == abi::Range{0x4000'1000, 0xfff'f000}));
    CHECK((machine.ram.ranges()[1] == abi::Range{0x5000'2000, 0x2fff'e000}));
}

TEST_CASE("several memory nodes, touching, disabled, odd") {
    Tree tree{"virt-gic3-el2.dtb"};
    tree.set("/memory@80000000", "device_type", "memory");
    tree.set("/memory@80000000", "reg", {0, 0x8000'0000, 0, 0x1000'0000, 1, 0x0000'0800, 0, 0x2000});
    tree.set("/memory@200000000", "device_type", "memory");
    tree.set("/memory@200000000", "reg", {2, 0, 0, 0x1000'0000});
    tree.set("/memory@200000000", "status", "disabled");
    const auto machine = read(tree);
    REQUIRE(machine.ram.ranges().size() == 2);
    CHECK((machine.ram.ranges()[0] == abi::Range{0x4000'0000, 0x5000'0000}));
    CHECK((machine.ram.ranges()[1] == abi::Range{0x1'0000'1000, 0x1000}));
}

TEST_CASE("addresses go through the ranges of buses") {
    Tree tree{"virt-gic3-el2.dtb"};
    tree.set("/soc", "#address-cells", std::vector<std::uint32_t>{1});
    tree.set("/soc", "#size-cells", std::vector<std::uint32_t>{1});
    tree.set("/soc", "compatible", "simple-bus");
    tree.set("/soc", "ranges", {0x7e00'0000, 0, 0xfe00'0000, 0x0180'0000});
    tree.set("/soc/serial@7e201000", "compatible", "arm,pl011");
    tree.set("/soc/serial@7e201000", "reg", {0x7e20'1000, 0x200});
    tree.set("/soc/serial@7e201000", "interrupts", {0, 121, 4});
    tree.set("/aliases", "serial0", "/soc/serial@7e201000");
    tree.set("/chosen", "stdout-path", "serial0:115200n8");
    auto machine = read(tree);
    CHECK((machine.uart == abi::Range{0xfe20'1000, 0x200}));
    CHECK(machine.uart_intid == 153);
    SECTION("a register outside all windows has no address") {
        tree.set("/soc/serial@7e201000", "reg", {0x7fff'ff00, 0x200});
        CHECK(read(tree).uart.bytes == 0);
    }
    SECTION("a bus without ranges hides what is behind it") {
        tree.edit([](void* fdt) { REQUIRE(fdt_delprop(fdt, fdt_path_offset(fdt, "/soc"), "ranges") == 0); });
        CHECK(read(tree).uart.bytes == 0);
    }
}

TEST_CASE("an SMMU, none, or one that is switched off") {
    Tree tree{"virt-gic3-el2.dtb"};
    CHECK(read(tree).smmu.bytes == 0);
    tree.set("/smmuv3@9050000", "compatible", "arm,smmu-v3");
    CHECK(read(tree).smmu.bytes == 0);  // where is it?
    tree.set("/smmuv3@9050000", "reg", {0, 0x905'0000, 0, 0x2'0000});
    CHECK((read(tree).smmu == abi::Range{0x905'0000, 0x2'0000}));
    tree.set("/smmuv3@9050000", "status", "disabled");
    CHECK(read(tree).smmu.bytes == 0);
}

TEST_CASE("a console that is no PL011, or none") {
    Tree tree{"virt-gic3-el2.dtb"};
    SECTION("other device") { tree.set("/pl011@9000000", "compatible", "ns16550a"); }
    SECTION("path to nowhere") { tree.set("/chosen", "stdout-path", "/nowhere"); }
    SECTION("empty path") { tree.set("/chosen", "stdout-path", ":115200"); }
    SECTION("no /chosen") { tree.remove("/chosen"); }
    CHECK(read(tree).uart.bytes == 0);
}

TEST_CASE("words of the boot arguments") {
    Tree tree{"virt-gic3-el2.dtb"};
    CHECK(read(tree).flags == 0);
    const auto flags = [&](const char* arguments) {
        tree.set("/chosen", "bootargs", arguments);
        return read(tree).flags;
    };
    CHECK(flags("shadow=naive") == abi::kBootNaiveShadow);
    CHECK(flags("quiet shadow=naive  other") == abi::kBootNaiveShadow);
    CHECK(flags("shadow=naiver noshadow=naive shadow=") == 0);
    CHECK(flags("") == 0);
}

TEST_CASE("random bytes that the firmware drew, or none") {
    Tree tree{"virt-gic3-el2.dtb"};
    CHECK(read(tree).seed.empty());
    tree.set("/chosen", "rng-seed", {0x01020304, 0x05060708});
    const auto machine = read(tree);
    REQUIRE(machine.seed.size() == 8);
    CHECK(machine.seed[7] == 8);
    SECTION("no seed") {
        tree.edit([](void* fdt) { REQUIRE(fdt_delprop(fdt, fdt_path_offset(fdt, "/chosen"), "rng-seed") == 0); });
    }
    SECTION("no /chosen") { tree.remove("/chosen"); }
    CHECK(read(tree).seed.empty());
}

TEST_CASE("timer interrupts go by name where there are names") {
    Tree tree{"virt-gic3-el2.dtb"};
    tree.edit([](void* fdt) {
        const int node = fdt_path_offset(fdt, "/timer");
        const char names[] = "virt\0hyp-phys\0phys\0sec-phys";
        REQUIRE(fdt_setprop(fdt, node, "interrupt-names", names, sizeof names) == 0);
    });
    const auto machine = read(tree);
    CHECK(machine.timer_virt_intid == 29);
    CHECK(machine.timer_hyp_intid == 30);
    CHECK(machine.timer_phys_intid == 27);
}

TEST_CASE("trees that lack what the kernel needs are refused") {
    Tree tree{"virt-gic3-el2.dtb"};
    SECTION("memory") {
        tree.remove("/memory@40000000");
        CHECK(refused(tree) == "no memory");
    }
    SECTION("cpus") {
        tree.remove("/cpus");
        CHECK(refused(tree) == "no /cpus");
    }
    SECTION("interrupt controller") {
        tree.remove("/intc@8000000");
        CHECK(refused(tree) == "no GICv2 or GICv3");
    }
    SECTION("its registers") {
        tree.set("/intc@8000000", "reg", {0, 0x800'0000, 0, 0x1'0000});
        CHECK(refused(tree) == "the interrupt controller has no registers");
    }
    SECTION("more redistributor regions than one") {
        tree.set("/intc@8000000", "#redistributor-regions", std::vector<std::uint32_t>{2});
        CHECK(refused(tree) == "the GICv3 has several redistributor regions");
    }
    SECTION("timer") {
        tree.remove("/timer");
        CHECK(refused(tree) == "no arm,armv8-timer");
    }
    SECTION("its interrupts") {
        tree.set("/timer", "interrupts", {1, 13, 4});
        CHECK(refused(tree) == "the timer has no interrupts");
    }
    SECTION("cells of impossible width") {
        tree.set("/", "#address-cells", std::vector<std::uint32_t>{0x8000'0001});
        CHECK(refused(tree) == "no memory");
    }
    SECTION("a memory node beyond the end of all addresses") {
        tree.set("/memory@40000000", "reg", {0xffff'ffff, 0xffff'f000, 0, 0x2000});
        CHECK(refused(tree) == "no memory");
    }
    SECTION("a reservation that wraps") {
        tree.edit([](void* fdt) { REQUIRE(fdt_add_mem_rsv(fdt, ~std::uint64_t{0} - 0xfff, 0x2000) == 0); });
        CHECK(refused(tree) == "a memory reservation is damaged");
    }
}

TEST_CASE("what is no device tree is refused before it is read") {
    Tree tree{"virt-gic3-el2.dtb"};
    CHECK(check_tree(tree.data(), tree.size()) == nullptr);
    CHECK(std::string{check_tree(nullptr, kMaxTree)} == "there is no device tree (x0 is 0)");
    CHECK(std::string{check_tree(tree.bytes() + 4, tree.size() - 4)} == "the device tree is not aligned to 8 bytes");
    CHECK(std::string{check_tree(tree.data(), tree.size() - 1)} == "the device tree is too large");
    tree.bytes()[0] ^= 1;
    CHECK(std::string{check_tree(tree.data(), tree.size())} == "what x0 points at is not a device tree (bad magic)");
}

TEST_CASE("every truncated tree is refused or read safely") {
    const Tree whole{"virt-gic2-el2.dtb"};
    for (std::size_t size = 0; size < whole.size(); ++size) {
        Tree cut{whole.data(), size};
        CHECK(check_tree(cut.data(), cut.size()) != nullptr);
        if (size >= 40) {  // says of itself that it is whole
            fdt_set_totalsize(cut.bytes(), static_cast<std::uint32_t>(size));
            survive(cut.data(), cut.size());
        }
    }
}

TEST_CASE("damaged trees are read safely") {
    std::mt19937 random{20260101};
    const auto below = [&](std::size_t limit) { return static_cast<std::size_t>(random()) % limit; };
    for (const char* name : {"virt-gic3-el2.dtb", "virt-gic2-el2.dtb"}) {
        const Tree whole{name};
        for (int round = 0; round < 4000; ++round) {
            Tree damaged{whole.data(), whole.size()};
            for (std::size_t left = 1 + below(4); left != 0; --left) {
                static constexpr unsigned char kNasty[] = {0, 1, 2, 3, 4, 9, 0x7f, 0x80, 0xff};
                // Header and structure more often than strings.
                const std::size_t at = round % 3 == 0 ? below(40) : below(damaged.size());
                damaged.bytes()[at] = kNasty[below(sizeof kNasty)];
            }
            survive(damaged.data(), damaged.size());
        }
    }
}

TEST_CASE("differences from the expected machine, all at once") {
    const Tree tree{"virt-gic2-el2.dtb"};
    const Machine machine = read(tree);
    SECTION("none") {
        const Expectation expect{1 << 2 | 1 << 3, 4, "qemu-virt", "linux,dummy-virt", 0x8000'0000, 0x900'0000};
        CHECK(compare(expect, tree.data(), machine).list().empty());
    }
    SECTION("anything goes") { CHECK(compare(Expectation{}, tree.data(), machine).list().empty()); }
    SECTION("all") {
        const Expectation expect{1 << 3, 8, "rpi4", "raspberrypi,4-model-b", 0x8000'0001, 0xfe20'1000};
        const auto found = compare(expect, tree.data(), machine);
        REQUIRE(found.list().size() == 5);
        CHECK(std::string{found.list()[0].expected_text} == "raspberrypi,4-model-b");
        CHECK(std::string{found.list()[0].found_text} == "linux,dummy-virt");
        CHECK(found.list()[1].found == 1 << 2);
        CHECK(found.list()[2].found == 0x900'0000);
        CHECK(found.list()[3].found == 4);
        CHECK(found.list()[4].found == 0x8000'0000);
    }
}
