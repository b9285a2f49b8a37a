#include "commands.h"

namespace pfc {

void add_data(CLI::App& app) {
  CLI::App* data = app.add_subcommand("data", "Make, check and change data sets");
  data->require_subcommand(1);
  data->footer(
      "Example:\n"
      "  pfc data synth faces");
  add_data_check(*data);
  add_data_assemble(*data);
  add_data_align(*data);
  add_data_pack(*data);
  add_data_resize(*data);
  add_data_unpack(*data);
  add_data_info(*data);
  add_data_verify(*data);
  add_data_filter(*data);
  add_data_merge(*data);
  add_data_split(*data);
  add_data_clean(*data);
  add_data_shuffle(*data);
  add_data_synth(*data);
}

}  // namespace pfc
