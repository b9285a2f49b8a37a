#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

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
  /// On all ranks. An image that does not decode is left out and told, or where `need_all` is set
  /// the error.
  std::unique_ptr<Features> embed(const ImageSource& images, bool with_mirrored, bool need_all,
                                  Communicator& comm) const;
};

/// Joins the ranks and sets this one's threads.
std::unique_ptr<Communicator> join_evaluation();

/// Decodes images by their number, where they can be read and decoded.
ImageOfRow pictures_of(const ImageSource& images);
/// The image of a row by its name, where a source has one that is called so. Both must outlive it.
ImageOfRow pictures_by_name(const ImageSource& images, const Features& features);
/// Of no image at all.
std::optional<RgbImage> no_picture(std::int64_t row);

/// A progress callback that prints on the first rank: "WHAT: 3,000 of 5,000 UNIT".
std::function<void(std::int64_t done, std::int64_t total)> show_progress(const std::string& what,
                                                                         const std::string& unit,
                                                                         const Communicator& comm);

}  // namespace pfc
