#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace pfc::pickle {

using Bytes = std::span<const std::byte>;

struct None {};
/// Text: one byte a character where each is below 256, else as it stands in the pickle.
struct Text {
  Bytes bytes;
  bool is_latin1;
};
/// A list or a tuple: a place in Document::sequences, so that references to it stay references.
struct Sequence {
  std::size_t index;
  bool is_list;
};
/// A place in Document::dicts.
struct Dict {
  std::size_t index;
};
/// What a pickle names of Python's modules: the dialect's number of it.
struct Global {
  std::size_t number;
};
/// What a dialect makes: its kind, as errors speak of it ("a tensor"), and the dialect's number of
/// it.
struct Object {
  std::string_view kind;
  std::size_t number;
};

/// What the dialect does not know, a class or an object: nothing is built or called. A place in
/// Document::unbuilt.
struct Unbuilt {
  std::size_t index;
};

using Value = std::variant<std::monostate, None, bool, std::int64_t, double, Bytes, Text, Sequence,
                           Dict, Global, Object, Unbuilt>;
using Items = std::vector<Value>;
using DictItems = std::vector<std::pair<Value, Value>>;

/// What a pickle says of an object that is not built.
struct UnbuiltObject {
  std::string_view module, name;  ///< of its class, or of what would have made it
  DictItems items;                ///< put into it as into a dict
  Value state;                    ///< as BUILD sets it; often a dict of its attributes
};

/// What a pickle holds, as references into the pickle itself where that is possible.
struct Document {
  Value root;
  std::vector<Items> sequences;
  std::vector<DictItems> dicts;  ///< in the order they were filled in
  std::vector<UnbuiltObject> unbuilt;
  std::vector<std::vector<std::byte>> decoded;  ///< bytes and texts that the pickle spells out
  std::size_t end = 0;                          ///< where the pickle ends
};

/// What the pickles of one kind of file may name, and what that means. Nothing else is called or
/// built: it is refused, or passed over. Errors are Error without a place, which the reader knows.
class Dialect {
 public:
  virtual ~Dialect() = default;

  /// The kind of file, after "is not allowed in".
  virtual std::string_view name() const = 0;
  virtual std::optional<Global> find_global(std::string_view module,
                                            std::string_view name) const = 0;
  /// Whether objects of other kinds, and numbers beyond int64, become Unbuilt; else they are
  /// errors.
  virtual bool passes_over_others() const { return false; }
  /// The result of calling `callable`, as REDUCE does. What it makes must not grow with the size of
  /// its arguments, which a pickle may use again and again.
  virtual Value call(Global callable, const Items& arguments, Document& document) = 0;
  /// Gives an object its state, as BUILD does.
  virtual void set_state(const Value& object, const Value& state, Document& document) = 0;
  /// What lies outside the pickle, under this id; nothing where all lies inside.
  virtual std::optional<Value> find_outside([[maybe_unused]] const Value& id,
                                            [[maybe_unused]] const Document& document) {
    return std::nullopt;
  }
};

/// How errors speak of a value: "a list", "a number".
std::string_view kind(const Value& value);
std::string_view view(Bytes bytes);
/// A text, or the `str` that Python 2 has in its place.
std::optional<std::string_view> as_text(const Value& value);
/// Throws Error where `value` is not a tuple.
const Items& tuple_items(const Value& value, const Document& document);
/// An empty dict.
Value add_dict(Document& document);

/// Reads a pickle of protocols 0 to 5, from `begin` on, that is made of the values above and
/// nothing else; runs nothing, recurses never, and takes memory in proportion to the size of
/// `bytes`, which must outlive the document. Throws DataError with the offset of the operation it
/// refused.
Document read(std::string_view file, Bytes bytes, Dialect& dialect, std::size_t begin = 0);

}  // namespace pfc::pickle
