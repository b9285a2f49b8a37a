#pragma once

#include <memory>
#include <streambuf>
#include <string_view>

namespace pfc {

// What a program does first. The library does none of it by itself: it concerns the whole process.

/// Opens /dev/null in place of standard input, output or error where one is closed. Else the next
/// file that is opened becomes standard error, and messages are written into data.
void open_standard_descriptors();

/// Has faults of files told in a sentence, not by a signal that ends the program without a word. A
/// page of a mapped file that cannot be read (SIGBUS: the file was cut while it is used, or its
/// disk fails) ends the program with status 1 and a sentence on stderr that names the file and
/// begins with `speaker`. A file that grows over the limit of its size (SIGXFSZ, `ulimit -f`) is an
/// IoError of what writes it.
void tell_file_faults(std::string_view speaker);

/// While it lives, what goes to std::cout is made printable (`printable_line`), line by line:
/// names from outside are in tables and results, and a terminal would obey them.
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
