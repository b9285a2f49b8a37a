#include "base/temporary_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMark = ".tmp-";
constexpr std::size_t kMachineDigits = 8, kRandomDigits = 12;

std::string random_digits() {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number)
    number = static_cast<std::uint64_t>(::getpid());  // O_EXCL refuses a file that exists
  return format("%012llx", static_cast<unsigned long long>(number & 0xffffffffffff));
}

/// Differs between machines and between two starts of one machine. All containers of a machine
/// share it.
const std::string& this_machine() {
  static const std::string machine = [] {
    std::string id;
    std::ifstream("/proc/sys/kernel/random/boot_id") >> id;
    if (id.empty()) id = random_digits();  // then no other process counts as being on this machine
    id.resize(kMachineDigits, '0');
    return id;
  }();
  return machine;
}

/// The MACHINE part of NAME.tmp-MACHINE-RANDOM; empty if the name has another form.
std::string_view machine_in(std::string_view name) {
  constexpr std::size_t kEnding = kMark.size() + kMachineDigits + 1 + kRandomDigits;
  if (name.size() <= kEnding) return {};
  std::string_view ending = name.substr(name.size() - kEnding);
  if (!ending.starts_with(kMark)) return {};
  ending.remove_prefix(kMark.size());
  for (std::size_t i = 0; i < ending.size(); ++i) {
    const bool fits = i == kMachineDigits
                          ? ending[i] == '-'
                          : std::string_view("0123456789abcdef").find(ending[i]) != ending.npos;
    if (!fits) return {};
  }
  return ending.substr(0, kMachineDigits);
}

SeenTemporary::Lock lock(int descriptor) {
  using Lock = SeenTemporary::Lock;
  if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) return Lock::kTaken;
  return errno == EWOULDBLOCK || errno == EINTR ? Lock::kHeld : Lock::kNone;
}

struct stat status_of(int descriptor) {
  struct stat info {};
  ::fstat(descriptor, &info);
  return info;
}

}  // namespace

TemporaryFile create_temporary(const fs::path& target) {
  for (;;) {
    TemporaryFile made{target};
    made.path += std::string(kMark) + this_machine() + "-" + random_digits();
    made.descriptor = ::open(made.path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (made.descriptor < 0 && errno == EEXIST) continue;
    if (made.descriptor < 0) throw IoError(target, "create", errno);
    // Between the two calls another process may have removed the file as left over.
    if (lock(made.descriptor) != SeenTemporary::Lock::kHeld &&
        status_of(made.descriptor).st_nlink > 0)
      return made;
    ::close(made.descriptor);
    ::unlink(made.path.c_str());
  }
}

bool is_left_over(const SeenTemporary& seen) {
  if (seen.lock == SeenTemporary::Lock::kHeld) return false;
  return seen.idle || (seen.this_machine && seen.lock == SeenTemporary::Lock::kTaken);
}

void remove_left_over(const fs::path& folder, const TemporaryFile& now) {
  constexpr std::int64_t kIdleSeconds = 3600;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const std::string_view machine = machine_in(name);
    if (machine.empty()) continue;
    const int descriptor =
        ::open(entry->path().c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor < 0) continue;
    const SeenTemporary seen{
        .lock = lock(descriptor),
        .this_machine = machine == this_machine(),
        .idle = status_of(now.descriptor).st_mtim.tv_sec - status_of(descriptor).st_mtim.tv_sec >
                kIdleSeconds};
    if (is_left_over(seen)) ::unlink(entry->path().c_str());
    ::close(descriptor);  // which releases the lock
  }
}

}  // namespace pfc
