#include <memory>
#include <string>

#include "commands.h"
#include "pfc/base/format.h"
#include "pfc/base/outputs.h"
#include "pfc/base/progress.h"
#include "pfc/export/onnx.h"
#include "pfc/model/backbone.h"
#include "pfc/model/backbone_file.h"

namespace pfc {
namespace {

struct ExportCommand {
  std::string model, output;
  OnnxOptions options;
};

void run_export(const ExportCommand& command) {
  require_other(command.model, command.output);
  require_writable(command.output);
  const SavedBackbone saved = open_backbone(command.model);
  if (!saved.left_out.empty()) tell(saved.left_out);
  saved.backbone->merge_low_rank();
  const OnnxSummary written = export_onnx(*saved.backbone, command.output, command.options);
  print_text(command.output + ": " + written.network + ", " +
                 counted(written.parameters, "parameter") + ", " + counted(written.nodes, "node") +
                 ", " + size_text(written.bytes) + "\n",
             {command.output});
}

}  // namespace

void add_export(CLI::App& app) {
  CLI::App* command = app.add_subcommand("export", "Write a network as ONNX");
  const auto options = std::make_shared<ExportCommand>();
  command->add_option("MODEL", options->model, "A backbone: .safetensors, .pth or .onnx")
      ->required()
      ->type_name("FILE");
  command->add_option("OUTPUT", options->output, "The ONNX file")
      ->required()
      ->type_name("FILE.onnx");
  command->add_flag("--normalize", options->options.normalize,
                    "The exported network takes RGB pixels from 0 to 255 and applies (x / 255 - "
                    "0.5) / 0.5 itself");
  command->add_flag("--normalized", options->options.normalize_embeddings,
                    "The exported network gives embeddings of unit length");
  command->add_flag("--fp16", options->options.float16,
                    "The exported network computes in float16; its input and output stay float32. "
                    "Half the size");
  command
      ->add_option("--batch", options->options.batch,
                   "The exported network takes so many images at a time, and no other number")
      ->check(CLI::Range(1, 65536))
      ->type_name("N");
  command->footer(
      "Examples:\n"
      "  pfc export output/best.safetensors best.onnx\n"
      "  pfc export output/best.safetensors camera.onnx --normalize --normalized --fp16 --batch 1\n"
      "Input `data` [N, 3, 112, 112] float32, RGB; output `embedding` [N, size] float32.\n"
      "Opset 11; that of vision transformers is 17.");
  command->callback([options] { run_export(*options); });
}

}  // namespace pfc
