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
/// Text: one byte for each character if all characters are below 256, otherwise as it stands in the
/// pickle.
struct Text {
  Bytes bytes;
  bool is_latin1;
};
/// A list or a tuple. It is a place in Document::sequences, so that references to it stay
/// references.
struct Sequence {
  std::size_t index;
  bool is_list;
};
/// A place in Document::dicts.
struct Dict {
  std::size_t index;
};
/// Something that a pickle names in Python's modules: its number in the dialect.
struct Global {
  std::size_t number;
};
/// Something that the dialect makes: its kind for errors ("a tensor"), and the dialect's number of
/// it.
struct Object {
  std::string_view kind;
  std::size_t number;
};

/// A class or an object that the dialect does not know. Nothing is built or called. A place in
/// Document::unbuilt.
struct Unbuilt {
  std::size_t index;
};

using Value = std::variant<std::monostate, None, bool, std::int64_t, double, Bytes, Text, Sequence,
                           Dict, Global, Object, Unbuilt>;
using Items = std::vector<Value>;
using DictItems = std::vector<std::pair<Value, Value>>;

/// What a pickle says about an object that is not built.
struct UnbuiltObject {
  std::string_view module, name;  ///< of its class, or of the callable that would have made it
  DictItems items;                ///< put into it as into a dict
  Value state;                    ///< as BUILD sets it; often a dict of its attributes
};

/// The content of a pickle, as references into the pickle itself where possible.
struct Document {
  Value root;
  std::vector<Items> sequences;
  std::vector<DictItems> dicts;  ///< in the order they were filled in
  std::vector<UnbuiltObject> unbuilt;
  std::vector<std::vector<std::byte>> decoded;  ///< bytes and texts that the pickle spells out
  std::size_t end = 0;                          ///< where the pickle ends
};

/// Says what the pickles of one kind of file may name, and what that means. Nothing else is called
/// or built: it is refused or skipped. Errors are Error without a place; the reader adds the place.
class Dialect {
 public:
  virtual ~Dialect() = default;

  /// The kind of file, after "is not allowed in".
  virtual std::string_view name() const = 0;
  virtual std::optional<Global> find_global(std::string_view module,
                                            std::string_view name) const = 0;
  /// Whether other kinds of objects, and numbers beyond int64, become Unbuilt. Otherwise they are
  /// errors.
  virtual bool passes_over_others() const { return false; }
  /// The result of calling `callable`, as REDUCE does. It must not grow with the size of the
  /// arguments, because a pickle may use the same arguments many times.
  virtual Value call(Global callable, const Items& arguments, Document& document) = 0;
  /// Gives an object its state, as BUILD does.
  virtual void set_state(const Value& object, const Value& state, Document& document) = 0;
  /// The value that lies outside the pickle under this id; nothing if everything lies inside.
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
/// Throws Error if `value` is not a tuple.
const Items& tuple_items(const Value& value, const Document& document);
/// An empty dict.
Value add_dict(Document& document);

/// Reads a pickle of protocols 0 to 5 that begins at `begin` and consists only of the values above.
/// It runs nothing, does not recurse, and takes memory in proportion to the size of `bytes`, which
/// must outlive the document. Throws DataError with the offset of the operation that it refused.
Document read(std::string_view file, Bytes bytes, Dialect& dialect, std::size_t begin = 0);

}  // namespace pfc::pickle
