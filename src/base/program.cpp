#include "pfc/base/program.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <iostream>
#include <string>

#include "pfc/base/format.h"

namespace pfc {
namespace {

// Everything from here to `on_bus_error` is called from a signal handler: no memory is allocated,
// no lock is taken, and stdio is not used.

char speaker_text[64];

/// Text of a bounded length.
class ShortText {
 public:
  void add(const char* text) {
    while (*text != '\0') add(*text++);
  }
  void add(char c) {
    if (size_ < text_.size()) text_[size_++] = c;
  }
  void add(std::uint64_t number) {
    std::array<char, 20> digits;
    std::size_t count = 0;
    do digits[count++] = static_cast<char>('0' + number % 10);
    while ((number /= 10) > 0);
    while (count > 0) add(digits[--count]);
  }
  void print() const { static_cast<void>(!::write(STDERR_FILENO, text_.data(), size_)); }

 private:
  std::array<char, 4608> text_;  // a path has up to 4096
  std::size_t size_ = 0;
};

/// A line of /proc/self/maps: "BEGIN-END PERMISSIONS OFFSET DEVICE INODE PATH".
struct Mapping {
  std::uint64_t begin = 0, end = 0, offset = 0;
  std::array<char, 4096 + 64> path;  // terminated by 0
};

class MapsReader {
 public:
  explicit MapsReader(int descriptor) : descriptor_(descriptor) {}

  /// The mapping that holds `address`.
  bool find(std::uint64_t address, Mapping& found) {
    while (peek() >= 0) {
      found.begin = hex();
      take();  // '-'
      found.end = hex();
      skip_field();  // permissions
      skip_blanks();
      found.offset = hex();
      skip_field();  // device
      skip_field();  // inode
      skip_blanks();
      std::size_t size = 0;
      for (int c = take(); c >= 0 && c != '\n'; c = take())
        if (size + 1 < found.path.size()) found.path[size++] = static_cast<char>(c);
      found.path[size] = '\0';
      if (address >= found.begin && address < found.end) return found.path[0] == '/';
    }
    return false;
  }

 private:
  int peek() {
    if (at_ == size_) {
      const ssize_t read = ::read(descriptor_, block_.data(), block_.size());
      if (read <= 0) return -1;
      at_ = 0;
      size_ = static_cast<std::size_t>(read);
    }
    return static_cast<unsigned char>(block_[at_]);
  }
  int take() {
    const int c = peek();
    if (c >= 0) ++at_;
    return c;
  }
  std::uint64_t hex() {
    std::uint64_t value = 0;
    for (int c = peek();; c = peek()) {
      if (c >= '0' && c <= '9') {
        value = value << 4 | static_cast<std::uint64_t>(c - '0');
      } else if (c >= 'a' && c <= 'f') {
        value = value << 4 | static_cast<std::uint64_t>(c - 'a' + 10);
      } else {
        return value;
      }
      take();
    }
  }
  void skip_blanks() {
    while (peek() == ' ') take();
  }
  void skip_field() {
    skip_blanks();
    for (int c = peek(); c >= 0 && c != ' ' && c != '\n'; c = peek()) take();
  }

  int descriptor_;
  std::array<char, 4096> block_;
  std::size_t at_ = 0, size_ = 0;
};

/// Prints the sentence. False if no file is mapped at `address`.
bool tell_unreadable(std::uint64_t address) {
  const int maps = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  Mapping mapping;
  if (maps < 0 || !MapsReader(maps).find(address, mapping)) return false;
  const std::uint64_t place = address - mapping.begin + mapping.offset;
  ShortText text;
  text.add(speaker_text);
  for (const char* c = mapping.path.data(); *c != '\0'; ++c)  // the kernel escapes only newlines
    text.add(static_cast<unsigned char>(*c) < ' ' || *c == 0x7f ? '?' : *c);
  struct stat info {};
  const bool there = ::stat(mapping.path.data(), &info) == 0;
  const auto size = static_cast<std::uint64_t>(there ? info.st_size : 0);
  if (there && place >= size) {
    text.add(": was cut to ");
    text.add(size);
    text.add(" bytes while it was read, and byte ");
    text.add(place);
    text.add(" is wanted: put the whole file back\n");
  } else {
    text.add(": byte ");
    text.add(place);
    text.add(" cannot be read: look at its disk or file server\n");
  }
  text.print();
  return true;
}

void on_bus_error(int signal, siginfo_t* info, void*) {
  static std::atomic_flag told;
  // If several threads meet the fault, one speaks; the others end with it.
  while (told.test_and_set()) ::pause();
  if (tell_unreadable(reinterpret_cast<std::uintptr_t>(info->si_addr))) ::_exit(1);
  ::signal(signal, SIG_DFL);  // another kind of fault: the access is repeated and ends the program
}

/// Passes on whole lines, made printable.
class PrintableLines final : public std::streambuf {
 public:
  explicit PrintableLines(std::streambuf* to) : to_(to) {}

 protected:
  int_type overflow(int_type c) override {
    if (traits_type::eq_int_type(c, traits_type::eof())) return traits_type::not_eof(c);
    if (c != '\n') {
      line_ += traits_type::to_char_type(c);
      return c;
    }
    return pass_on() && to_->sputc('\n') != traits_type::eof() ? c : traits_type::eof();
  }
  std::streamsize xsputn(const char* text, std::streamsize size) override {
    for (std::streamsize i = 0; i < size; ++i)
      if (overflow(traits_type::to_int_type(text[i])) == traits_type::eof()) return i;
    return size;
  }
  int sync() override { return pass_on() ? to_->pubsync() : -1; }

 private:
  bool pass_on() {
    const std::string text = printable_line(line_);
    line_.clear();
    return to_->sputn(text.data(), std::ssize(text)) == std::ssize(text);
  }

  std::streambuf* to_;
  std::string line_;
};

}  // namespace

void open_standard_descriptors() {
  for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; ++descriptor) {
    // A new file gets the lowest free number.
    if (::fcntl(descriptor, F_GETFD) < 0) static_cast<void>(::open("/dev/null", O_RDWR));
  }
}

void tell_file_faults(std::string_view speaker) {
  speaker.copy(speaker_text, sizeof speaker_text - 1);
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGBUS, &action, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);
}

PrintableOutput::PrintableOutput()
    : lines_(std::make_unique<PrintableLines>(std::cout.rdbuf())),
      before_(std::cout.rdbuf(lines_.get())) {}

PrintableOutput::~PrintableOutput() {
  std::cout.flush();
  std::cout.rdbuf(before_);
}

}  // namespace pfc
