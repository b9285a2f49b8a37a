#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "pfc/head/losses/adaface.h"
#include "pfc/head/losses/arcface.h"
#include "pfc/head/losses/combined_margin.h"
#include "pfc/head/losses/contract.h"
#include "pfc/head/losses/cosface.h"
#include "pfc/head/losses/curricularface.h"
#include "pfc/head/losses/elasticface.h"
#include "pfc/head/losses/magface.h"
#include "pfc/head/losses/sub_center_arcface.h"

namespace pfc {

/// The losses that there are, each with its settings. To add one: its file above, its name here.
using Losses = std::tuple<CosFace, ArcFace, CombinedMargin, AdaFace, CurricularFace, ElasticFace,
                          MagFace, SubCenterArcFace>;

template <class Tuple>
struct AnyOf;
template <class... L>
struct AnyOf<std::tuple<L...>> {
  using type = std::variant<L...>;
};
/// One of them.
using Loss = AnyOf<Losses>::type;

/// "cosface", "arcface", …
inline std::string_view loss_name(const Loss& loss) {
  return std::visit([]<class L>(const L&) { return L::kName; }, loss);
}

/// The loss of that name with its settings in `losses`; `m` is head.m, where it has one. Throws
/// std::invalid_argument where there is none.
inline Loss loss_named(std::string_view name, const Losses& losses, double m) {
  std::optional<Loss> found;
  const auto take = [&]<class L>(L loss) {
    if (L::kName != name) return;
    if constexpr (requires { loss.m; }) loss.m = m;
    found = loss;
  };
  std::apply([&](const auto&... loss) { (take(loss), ...); }, losses);
  if (!found) throw std::invalid_argument("no loss is called " + std::string(name));
  return *found;
}

/// What is wrong with its settings, as a sentence; empty where nothing is.
inline std::string wrong_with(const Loss& loss) {
  return std::visit(
      [](const auto& one) -> std::string {
        if constexpr (requires { one.wrong(); }) return one.wrong();
        return "";
      },
      loss);
}

/// The losses' own settings, bound to `losses`.
inline std::vector<Field> loss_fields(Losses& losses) {
  std::vector<Field> all;
  const auto add = [&](auto& loss) {
    if constexpr (requires { loss.fields(); }) {
      for (Field& field : loss.fields()) all.push_back(std::move(field));
    }
  };
  std::apply([&](auto&... loss) { (add(loss), ...); }, losses);
  return all;
}

/// "cosface: cos θ − m; arcface: cos(θ + m); …"
inline std::string loss_formulas() {
  std::string text;
  const auto add = [&]<class L>(const L&) {
    text += (text.empty() ? "" : "; ") + std::string(L::kName) + ": " + std::string(L::kFormula);
  };
  std::apply([&](const auto&... loss) { (add(loss), ...); }, Losses());
  return text;
}

/// The names of all losses.
inline std::vector<std::string_view> loss_names() {
  return std::apply([]<class... L>(const L&...) { return std::vector{L::kName...}; }, Losses());
}

/// The rows that a class has in the table of centres.
inline std::int64_t centers_a_class(const Loss& loss) {
  return std::visit(
      []<class L>(const L& l) -> std::int64_t {
        if constexpr (requires { l.centers_a_class(); }) return l.centers_a_class();
        return 1;
      },
      loss);
}

/// Whether a step needs the lengths that its embeddings had before they were normalised.
inline bool uses_length(const Loss& loss) {
  return std::visit([]<class L>(const L&) { return kLossUsesLength<L>; }, loss);
}

/// Whether the loss has a gradient by the lengths.
inline bool has_length_gradient(const Loss& loss) {
  return std::visit([]<class L>(const L&) { return kLossHasLengthGradient<L>; }, loss);
}

/// A loss's numbers from where they lie, in the order of its Moving; of a loss that keeps none
/// `numbers` is not read.
template <class L>
PFC_ON_GPU Moving<L> moving_numbers(const double* numbers) {
  if constexpr (kLossMoves<L>) {
    return *reinterpret_cast<const Moving<L>*>(numbers);
  } else {
    return {};
  }
}

/// The numbers that the loss keeps from step to step, with their first values.
inline std::vector<double> first_moving_numbers(const Loss& loss) {
  return std::visit(
      []<class L>(const L&) -> std::vector<double> {
        if constexpr (kLossMoves<L>) {
          const Moving<L> first;
          const auto* const numbers = reinterpret_cast<const double*>(&first);
          return {numbers, numbers + kMovingNumbers<L>};
        }
        return {};
      },
      loss);
}

/// What a filter of no cosine is set to: above every cosine.
inline constexpr float kNoFilter = 2;

}  // namespace pfc
