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

/// Where the results of an evaluation go, besides the terminal.
struct ReportFiles {
  std::string html, json;

  void add_options(CLI::App& command);
  /// Prints the tables and writes the files.
  void write(const Report& report) const;
};

/// A network to embed images with, for the evaluations that take embeddings as well.
struct ModelOptions {
  std::string model;
  NetworkOptions network;

  void add_options(CLI::App& command);
  /// On all ranks. An image that does not decode is left out and told; where `need_all` is set, all
  /// are looked at first and such a one is an error.
  std::unique_ptr<Features> embed(const ImageSource& images, bool with_mirrored, bool need_all,
                                  Communicator& comm) const;
};

/// At the start: throws Error on the first rank, which writes them, where one of the files could
/// not be written (require_writable).
void require_outputs(std::initializer_list<std::filesystem::path> files);

/// Images that cannot be used: the first ones are told by name, each with its reason in a line of
/// its own, as more would hide everything else.
class UnusableImages {
 public:
  /// `what` stands before each name.
  UnusableImages(ProgressLine& line, std::string what) : line_(line), what_(std::move(what)) {}

  void add(const std::string& name, const std::string& reason);
  std::int64_t count() const { return count_; }

 private:
  static constexpr std::int64_t kNamed = 50;

  ProgressLine& line_;
  std::string what_;
  std::int64_t count_ = 0;
};

/// Looks at every image, each rank at its share, before hours are spent on them. Throws Error, when
/// all are named and counted, where some have no face. `set` stands before what is said.
void require_faces(const ImageSource& images, const std::string& set, Communicator& comm);

/// Joins the ranks and sets this one's threads.
std::unique_ptr<Communicator> join_evaluation();

std::vector<std::string> names_of(const ImageSource& images);

/// Decodes images by their number, where they can be read and decoded.
ImageOfRow pictures_of(const ImageSource& images);
/// The image of a row by its name, where a source has one that is called so. Both must outlive it.
ImageOfRow pictures_by_name(const ImageSource& images, const Features& features);
/// Of no image at all.
std::optional<RgbImage> no_picture(std::int64_t row);

/// A progress callback that prints on the first rank: "WHAT: 3,000 of 5,000 UNITs".
std::function<void(std::int64_t done, std::int64_t total)> show_progress(const std::string& what,
                                                                         const std::string& unit,
                                                                         const Communicator& comm);

}  // namespace pfc
