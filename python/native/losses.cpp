#include "native/losses.h"

#include <numbers>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "native/fields.h"

namespace pfc::python {
namespace {

/// The loss's settings, `m` first. Their keys are those of a configuration.
template <class L>
std::vector<Field> fields_of(L& loss) {
  std::vector<Field> fields;
  if constexpr (requires { loss.m; }) {
    fields.push_back(key::number("head.m", &loss.m, OnResume::kTold,
                                 key::from_to(0, std::numbers::pi), "the margin"));
  }
  if constexpr (requires { loss.fields(); }) {
    for (Field& field : loss.fields()) fields.push_back(std::move(field));
  }
  return fields;
}

/// "head.adaface_h" of adaface -> "h"
std::string name_of_field(const Field& field, std::string_view loss) {
  std::string_view name = field.name();
  const std::string prefix = std::string(loss) + "_";
  if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
  return name == "lambda" ? "lambda_" : std::string(name);  // a word of Python's
}

py::object value_of(const Field& field) {
  return std::visit(
      []<class Slot>(const Slot& slot) -> py::object {
        if constexpr (std::is_same_v<Slot, double*> || std::is_same_v<Slot, std::int64_t*>) {
          return py::cast(*slot);
        } else if constexpr (std::is_same_v<Slot, EnumSlot>) {
          return py::str(std::string(slot.get(slot.value)));
        } else {
          throw std::logic_error("a loss has a setting of a kind that Python does not know");
        }
      },
      field.slot);
}

}  // namespace

py::list list_losses() {
  py::list all;
  const auto add = [&]<class L>(L loss) {
    py::list fields;
    for (const Field& field : fields_of(loss)) {
      py::dict one;
      one["name"] = name_of_field(field, L::kName);
      one["default"] = value_of(field);
      one["choices"] = std::vector<std::string>(field.choices.begin(), field.choices.end());
      one["meaning"] = field.meaning;
      fields.append(one);
    }
    py::dict described;
    described["name"] = std::string(L::kName);
    described["formula"] = std::string(L::kFormula);
    described["fields"] = fields;
    all.append(described);
  };
  std::apply([&](const auto&... loss) { (add(loss), ...); }, Losses());
  return all;
}

Loss make_loss(const std::string& name, const py::dict& fields) {
  Loss loss;
  bool found = false;
  const auto take = [&]<class L>(L one) {
    if (L::kName != name) return;
    for (const auto& [key, value] : fields) {
      const std::string wanted_name = py::str(key);
      bool is_field = false;
      for (const Field& field : fields_of(one)) {
        if (name_of_field(field, L::kName) != wanted_name) continue;
        set(field, wanted_name, value);
        is_field = true;
      }
      if (!is_field) throw std::invalid_argument(name + " has no setting " + wanted_name);
    }
    loss = one;
    found = true;
  };
  std::apply([&](const auto&... one) { (take(one), ...); }, Losses());
  if (!found) throw std::invalid_argument("no loss is called " + name);
  if (const std::string wrong = wrong_with(loss); !wrong.empty())
    throw std::invalid_argument(wrong);
  return loss;
}

}  // namespace pfc::python
