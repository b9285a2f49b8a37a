#pragma once

#include <memory>
#include <streambuf>
#include <string_view>

namespace pfc {

// What a program does first. The library never does this by itself, because it affects the whole
// process.

/// Opens /dev/null in place of standard input, output or error if one is closed. Otherwise the next
/// file opened would become standard error, and messages would be written into data.
void open_standard_descriptors();

/// Reports faults of files as a sentence. By default a signal would end the program silently. If a
/// page of a mapped file cannot be read (SIGBUS: the file was cut while in use, or its disk fails),
/// the program ends with status 1 and a sentence on stderr that begins with `speaker` and names the
/// file. If a file grows over its size limit (SIGXFSZ, `ulimit -f`), its writer throws IoError.
void tell_file_faults(std::string_view speaker);

/// While this lives, everything sent to std::cout is made printable (`printable_line`), line by
/// line. Tables and results contain names from outside, and a terminal would obey control
/// characters in them.
class PrintableOutput {
 public:
  PrintableOutput();
  ~PrintableOutput();
  PrintableOutput(const PrintableOutput&) = delete;
  PrintableOutput& operator=(const PrintableOutput&) = delete;

 private:
  std::unique_ptr<std::streambuf> lines_;
  std::streambuf* before_;
};

}  // namespace pfc
