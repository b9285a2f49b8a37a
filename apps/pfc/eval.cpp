#include "commands.h"

namespace pfc {

void add_eval(CLI::App& app) {
  CLI::App* eval = app.add_subcommand("eval", "Measure a trained network");
  eval->require_subcommand(1);
  eval->footer(
      "Examples:\n"
      "  pfc eval verification output/best.safetensors lfw.bin --report lfw.html\n"
      "  pfc eval ijb IJBC --model output/best.safetensors\n"
      "  pfc eval ifrt photos.npy --far 1e-6");
  add_eval_verification(*eval);
  add_eval_ijb(*eval);
  add_eval_megaface(*eval);
  add_eval_ifrt(*eval);
}

}  // namespace pfc
