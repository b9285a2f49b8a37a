// Rank-1 identification of the people in a set of images: PERSON/IMAGE in a folder, or a .rec.
//
//   own_evaluation NETWORK IMAGES
#include <pfc/data/image_source.h>
#include <pfc/eval/embedder.h>
#include <pfc/model/backbone.h>
#include <pfc/model/backbone_file.h>

#include <cstdio>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "identification.h"

namespace {

/// Images that do not decode are left out.
std::unique_ptr<pfc::Features> embed_all(pfc::Backbone& network, const pfc::ImageSource& images) {
  std::vector<float> rows;
  std::vector<std::string> names;
  pfc::embed(network, images,
             {.embedding =
                  [&](std::int64_t image, std::span<const float> row) {
                    rows.insert(rows.end(), row.begin(), row.end());
                    names.push_back(images.name(image));
                  },
              .left_out =
                  [&](std::int64_t image, const std::string& reason) {
                    std::fprintf(stderr, "left out: %s: %s\n", images.name(image).c_str(),
                                 reason.c_str());
                  }});
  const std::int64_t dim = names.empty() ? 1 : std::ssize(rows) / std::ssize(names);
  return pfc::make_features(std::move(rows), dim, std::move(names));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: own_evaluation NETWORK IMAGES\n");
    return 2;
  }
  try {
    const auto network = pfc::load_backbone(argv[1]);
    const auto images = pfc::open_images(argv[2]);
    const Identification found = identify(*embed_all(*network, *images));
    std::printf("%lld of %lld probes are nearest to their own of %lld people\n",
                static_cast<long long>(found.correct), static_cast<long long>(found.probes),
                static_cast<long long>(found.people));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "own_evaluation: %s\n", error.what());
    return 1;
  }
}
