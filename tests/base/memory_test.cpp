#include "pfc/base/memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "temporary_folder.h"

namespace pfc {
namespace {

TEST(PeakMemory, CountsWhatWasResidentSinceTheReset) {
  constexpr std::size_t kBytes = 64 << 20;
  reset_peak_memory();
  const std::int64_t before = peak_memory();
  if (before == 0) GTEST_SKIP() << "the system does not tell";
  // Directly from the system, because an allocator may keep what is freed.
  void* const block =
      ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(block, MAP_FAILED);
  std::memset(block, 1, kBytes);
  ::munmap(block, kBytes);
  const std::int64_t with_block = peak_memory();
  EXPECT_GE(with_block - before, 60 << 20);
  reset_peak_memory();
  EXPECT_LT(peak_memory(), with_block - (30 << 20));
}

/// A system with 4000 kB available, and a process in the control group a/b.
struct System {
  TemporaryFolder root;

  System() {
    write("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable: 4000 kB\n");
    write("proc/self/cgroup", "0::/a/b\n");
  }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((root / name).parent_path());
    write_text(root / name, text);
  }
  std::int64_t available() const { return available_memory(root.path()); }
};

TEST(AvailableMemory, FallsByWhatIsTaken) {
  const System system;
  EXPECT_EQ(system.available(), 4000 << 10);
  system.write("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable: 3000 kB\n");
  EXPECT_EQ(system.available(), 3000 << 10);
}

TEST(AvailableMemory, IsWhatTheTightestControlGroupLeaves) {
  const System system;
  system.write("sys/fs/cgroup/a/b/memory.max", "max\n");
  system.write("sys/fs/cgroup/a/b/memory.current", "500000\n");
  EXPECT_EQ(system.available(), 4000 << 10);
  system.write("sys/fs/cgroup/a/memory.max", "900000\n");
  system.write("sys/fs/cgroup/a/memory.current", "600000\n");
  EXPECT_EQ(system.available(), 300000);
  system.write("sys/fs/cgroup/a/memory.current", "700000\n");
  EXPECT_EQ(system.available(), 200000);
  system.write("sys/fs/cgroup/a/memory.stat", "active_file 7\ninactive_file 50000\n");
  EXPECT_EQ(system.available(), 250000);
  system.write("sys/fs/cgroup/a/memory.current", "990000\n");
  EXPECT_EQ(system.available(), 0);
}

TEST(AvailableMemory, IsAPartOfThePhysicalMemory) {
  EXPECT_GT(available_memory(), 0);
  EXPECT_LE(available_memory(), std::int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE));
}

TEST(OutOfGpuMemory, SaysWhatWasAskedWhatIsFreeAndWhatToDo) {
  const std::string asked =
      "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total "
      "capacity of 79.10 GiB of which 1.20 GiB is free";
  EXPECT_EQ(out_of_gpu_memory(asked + ". Process 7 has 70 GiB in use.", "lower --batch"),
            asked + "; lower --batch");
  EXPECT_EQ(out_of_gpu_memory("CUDA out of memory\nmore", "lower --batch"),
            "CUDA out of memory; lower --batch");
}

}  // namespace
}  // namespace pfc
