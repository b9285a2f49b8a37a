#pragma once

#include <optional>
#include <string_view>

#include "data/pickle.h"

namespace pfc::pickle {

// What the few globals of a verification set mean. Errors are Error without a place, which the
// caller knows.

std::optional<Global> find_global(std::string_view module, std::string_view name);
/// The result of calling `callable`, as REDUCE does.
Value call(const Value& callable, const Value& arguments, Document& document);
/// Gives an object its state, as BUILD does.
void set_state(const Value& object, const Value& state, Document& document);

}  // namespace pfc::pickle
