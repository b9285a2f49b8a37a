#pragma once

#include <CLI/CLI.hpp>

namespace pfc {

// Each adds its sub-command to `app`. The work is done in the callback, which throws on failure.
void add_bench(CLI::App& app);
void add_convert(CLI::App& app);
void add_data(CLI::App& app);
void add_embed(CLI::App& app);
void add_eval(CLI::App& app);
void add_export(CLI::App& app);
void add_inspect(CLI::App& app);
void add_plan(CLI::App& app);
void add_train(CLI::App& app);

// The sub-commands of `pfc data`, which has a file for each.
void add_data_align(CLI::App& data);
void add_data_assemble(CLI::App& data);
void add_data_check(CLI::App& data);
void add_data_clean(CLI::App& data);
void add_data_filter(CLI::App& data);
void add_data_info(CLI::App& data);
void add_data_merge(CLI::App& data);
void add_data_pack(CLI::App& data);
void add_data_resize(CLI::App& data);
void add_data_shuffle(CLI::App& data);
void add_data_split(CLI::App& data);
void add_data_synth(CLI::App& data);
void add_data_unpack(CLI::App& data);
void add_data_verify(CLI::App& data);

// The sub-commands of `pfc eval`.
void add_eval_ifrt(CLI::App& eval);
void add_eval_ijb(CLI::App& eval);
void add_eval_megaface(CLI::App& eval);
void add_eval_verification(CLI::App& eval);

}  // namespace pfc
