#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "network_options.h"
#include "pfc/base/progress.h"
#include "pfc/comm/communicator.h"
#include "pfc/data/image_source.h"
#include "pfc/eval/features.h"
#include "pfc/eval/protocol_reports.h"

namespace pfc {

/// Where an evaluation writes its results, besides the terminal.
struct ReportFiles {
  std::string html, json;

  void add_options(CLI::App& command);
  /// Prints the tables and writes the files.
  void write(const Report& report) const;
};

/// A network that embeds images, for evaluations that also accept embeddings.
struct ModelOptions {
  std::string model;
  NetworkOptions network;

  void add_options(CLI::App& command);
  /// Runs on all ranks. An image that does not decode is left out and reported. With `need_all`,
  /// all images are checked first, and such an image is an error.
  std::unique_ptr<Features> embed(const ImageSource& images, bool with_mirrored, bool need_all,
                                  Communicator& comm) const;
};

/// Call it at the start. Throws Error on the first rank, which writes the files, if one of them
/// could not be written (require_writable).
void require_outputs(std::initializer_list<std::filesystem::path> files);

/// Reports images that cannot be used: the first ones by name, each with its reason on its own
/// line. More lines would hide everything else.
class UnusableImages {
 public:
  /// `what` comes before each name.
  UnusableImages(ProgressLine& line, std::string what) : line_(line), what_(std::move(what)) {}

  void add(const std::string& name, const std::string& reason);
  std::int64_t count() const { return count_; }

 private:
  static constexpr std::int64_t kNamed = 50;

  ProgressLine& line_;
  std::string what_;
  std::int64_t count_ = 0;
};

/// Checks every image, each rank its share, before hours are spent on them. If some give no face,
/// throws Error after all were named and counted. `set` comes before each message.
void require_faces(const ImageSource& images, const std::string& set, Communicator& comm);

/// Joins the ranks and sets the number of this rank's threads.
std::unique_ptr<Communicator> join_evaluation();

/// A progress callback that prints on the first rank: "WHAT: 3,000 of 5,000 UNITs".
std::function<void(std::int64_t done, std::int64_t total)> show_progress(const std::string& what,
                                                                         const std::string& unit,
                                                                         const Communicator& comm);

}  // namespace pfc
