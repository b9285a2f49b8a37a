#include <filesystem>
#include <iostream>
#include <memory>
#include <string>

#include "commands.h"
#include "face_walk.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/data/face_selection.h"
#include "pfc/data/list_name.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

struct FilterCommand {
  fs::path input, output, drop_images, drop_identities, same;
  std::int64_t min_images = 1, max_images = 0;
};

FaceFilterOptions filter_options(const FilterCommand& command) {
  FaceFilterOptions options{.min_images = command.min_images, .max_images = command.max_images};
  if (!command.drop_images.empty())
    options.drop_images = parse_names(read_file(command.drop_images), command.drop_images.string());
  if (!command.drop_identities.empty()) {
    options.drop_identities =
        parse_identities(read_file(command.drop_identities), command.drop_identities.string());
  }
  if (!command.same.empty())
    options.same = parse_same(read_file(command.same), command.same.string());
  return options;
}

/// For each identity of the output, its identity in the input, in the form for `init.class_map`.
void write_class_map(const fs::path& path, const FaceFilter& filter, const FaceSource& input) {
  std::string text = "# identity, its name in the set that was filtered\n";
  for (std::size_t i = 0; i < filter.kept().size(); ++i)
    text += std::to_string(i) + "," + list_name(input.identity_name(filter.kept()[i])) + "\n";
  write_file(path, text);
}

void run_filter(const FilterCommand& command) {
  FaceFilter filter(filter_options(command));
  const fs::path rec = new_rec(command.output), class_map = rec.parent_path() / "class_map.csv";
  require_new(class_map);  // would belong to another set, if two are filtered into one folder
  FaceWalk walk;
  const auto input = open_faces(command.input);
  walk.each(*input, "counting", [&](const Face& face) { filter.count(face); });
  filter.finish();

  const auto source = open_faces(command.input);
  const auto kept = relabelled(*source, [&](const Face& face) { return filter.relabel(face); });
  const auto sink = begin_rec(rec);
  walk.copy(*kept, *sink);
  sink->commit();
  write_class_map(class_map, filter, *input);
  std::cout << rec.string() << ": " << walk.copied() << "\n";
  if (filter.not_found() > 0)
    std::cout << counted(filter.not_found(), "entry") << " of the lists not found in the set\n";
}

}  // namespace

void add_data_filter(CLI::App& data) {
  CLI::App* command = data.add_subcommand("filter", "Leave identities and images out");
  const auto options = std::make_shared<FilterCommand>();
  command->add_option("INPUT", options->input, "A .rec, .lst, .tar or folder")
      ->required()
      ->type_name("INPUT");
  command->add_option("-o,--output", options->output, "The new .rec, or its folder")
      ->required()
      ->type_name("OUT");
  command
      ->add_option("--min-images", options->min_images,
                   "Drop identities with fewer images, after the lists were applied")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--max-images", options->max_images,
                   "Keep only this many images of each identity, from the first on; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--drop-images", options->drop_images,
                   "A list of keys (of a .rec) or paths, the first field of each line")
      ->type_name("FILE");
  command
      ->add_option("--drop-identities", options->drop_identities,
                   "A list of identities' numbers, the first field of each line")
      ->type_name("FILE");
  command
      ->add_option("--same", options->same,
                   "Identities that are the same person: lines 1,IDENTITY,1,IDENTITY, as `pfc data "
                   "clean` writes them")
      ->type_name("CSV");
  command->footer(
      "Identities are numbered again without gaps; class_map.csv beside the new set has the old "
      "number or name of each.\n\n"
      "Examples:\n"
      "  pfc data filter faces -o faces2 --min-images 2\n"
      "  pfc data filter faces -o cleaned --drop-images lists/drop_images.txt --same "
      "lists/same.csv");
  command->callback([options] { run_filter(*options); });
}

}  // namespace pfc
