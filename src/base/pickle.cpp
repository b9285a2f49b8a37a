#include "base/pickle.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "base/pickle_text.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc::pickle {
namespace {

std::string hex(std::uint8_t byte) {
  constexpr char kDigits[] = "0123456789abcdef";
  return {'0', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
}

/// Takes bytes from the front, never more than there are.
class Cursor {
 public:
  Cursor(Bytes bytes, std::size_t offset) : bytes_(bytes), offset_(offset) {}

  std::size_t offset() const { return offset_; }

  Bytes take(std::uint64_t size) {
    if (size > bytes_.size() - offset_) {
      throw Error("the file ends here, " + std::to_string(bytes_.size() - offset_) +
                  " bytes before the end of an item of " + std::to_string(size) + " bytes");
    }
    const Bytes taken = bytes_.subspan(offset_, size);
    offset_ += taken.size();
    return taken;
  }

  /// An unsigned little-endian number of `size` bytes, at most 8.
  std::uint64_t number(std::size_t size) {
    std::uint64_t value = 0;
    const Bytes bytes = take(size);
    for (std::size_t i = 0; i < size; ++i) {
      value |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
    }
    return value;
  }

  /// The bytes up to the next newline; takes the newline too.
  Bytes line() {
    const auto begin = bytes_.begin() + static_cast<std::ptrdiff_t>(offset_);
    const auto end = std::find(begin, bytes_.end(), std::byte{'\n'});
    if (end == bytes_.end()) throw Error("the file ends within a line");
    const Bytes taken = take(static_cast<std::uint64_t>(end - begin));
    ++offset_;
    return taken;
  }

 private:
  Bytes bytes_;
  std::size_t offset_;
};

/// The stack machine that runs a pickle. Every operation pushes at most one value, and a pickle's
/// values hold no copies of each other, so memory stays in proportion to the file.
class Machine {
 public:
  Machine(Bytes bytes, std::size_t begin, Dialect& dialect)
      : begin_(begin), in_(bytes, begin), dialect_(dialect) {}

  std::size_t offset() const { return in_.offset(); }

  /// Runs one operation; false after the last one.
  bool step();
  Document finish() && {
    document_.root = pop();
    document_.end = in_.offset();
    return std::move(document_);
  }

 private:
  void push(Value value) { stack_.push_back(value); }
  void push_utf8(Bytes text);
  void push_int(std::string_view digits);
  void push_float(std::string_view digits);
  void push_long(std::uint64_t size);
  void push_global(std::string_view module, std::string_view name);
  void push_unbuilt(std::string_view module, std::string_view name);
  void push_call(const Value& callable, const Value& arguments);
  void push_tuple(std::size_t size);
  void push_sequence(std::vector<Value> items, bool is_list);

  Value pop();
  Value& top();
  std::vector<Value> pop_to_mark();
  void add_to_list(const Items& items);
  void add_to_dict(const Items& keys_and_values);
  void build_other(std::uint8_t code);
  [[noreturn]] void refuse(const std::string& what) const;

  void remember(std::uint64_t index);
  void recall(std::uint64_t index);
  std::uint64_t line_number();

  Bytes keep(std::optional<std::vector<std::byte>> bytes);

  std::size_t begin_;
  Cursor in_;
  Dialect& dialect_;
  std::vector<Value> stack_;
  std::vector<std::size_t>
      marks_;  ///< sizes of the stack; nothing below the last one may be popped
  std::vector<Value> memo_;
  Document document_;
};

bool Machine::step() {
  const auto code = static_cast<std::uint8_t>(in_.number(1));
  switch (code) {
    case 0x80:  // PROTO
      if (const auto protocol = in_.number(1); protocol > 5) {
        throw Error("pickle protocol " + std::to_string(protocol) + ", want at most 5");
      }
      return true;
    case 0x95:  // FRAME
      in_.take(8);
      return true;
    case '.':  // STOP
      return false;

    case 'N':  // NONE
      push(None{});
      return true;
    case 0x88:  // NEWTRUE
    case 0x89:  // NEWFALSE
      push(code == 0x88);
      return true;
    case 'K':  // BININT1
      push(static_cast<std::int64_t>(in_.number(1)));
      return true;
    case 'M':  // BININT2
      push(static_cast<std::int64_t>(in_.number(2)));
      return true;
    case 'J':  // BININT
      push(std::int64_t{static_cast<std::int32_t>(in_.number(4))});
      return true;
    case 'I':  // INT
    case 'L':  // LONG
      push_int(view(in_.line()));
      return true;
    case 'F':  // FLOAT
      push_float(view(in_.line()));
      return true;
    case 'G':  // BINFLOAT, the one number that is big-endian
      push(std::bit_cast<double>(__builtin_bswap64(in_.number(8))));
      return true;
    case 0x8a:  // LONG1
      push_long(in_.number(1));
      return true;
    case 0x8b:  // LONG4
      push_long(in_.number(4));
      return true;

    case 'C':  // SHORT_BINBYTES
    case 'U':  // SHORT_BINSTRING, the bytes of Python 2
      push(in_.take(in_.number(1)));
      return true;
    case 'B':  // BINBYTES
    case 'T':  // BINSTRING
      push(in_.take(in_.number(4)));
      return true;
    case 0x8e:  // BINBYTES8
    case 0x96:  // BYTEARRAY8
      push(in_.take(in_.number(8)));
      return true;
    case 'S':  // STRING
      push(keep(bytes_from_repr(in_.line())));
      return true;
    case 0x8c:  // SHORT_BINUNICODE
      push_utf8(in_.take(in_.number(1)));
      return true;
    case 'X':  // BINUNICODE
      push_utf8(in_.take(in_.number(4)));
      return true;
    case 0x8d:  // BINUNICODE8
      push_utf8(in_.take(in_.number(8)));
      return true;
    case 'V':  // UNICODE
      push(Text{keep(latin1_from_raw_escapes(in_.line())), true});
      return true;

    case '(':  // MARK
      marks_.push_back(stack_.size());
      return true;
    case ')':  // EMPTY_TUPLE
      push_tuple(0);
      return true;
    case 0x85:  // TUPLE1
    case 0x86:  // TUPLE2
    case 0x87:  // TUPLE3
      push_tuple(code - 0x84u);
      return true;
    case 't':  // TUPLE
    case 'l':  // LIST
      push_sequence(pop_to_mark(), code == 'l');
      return true;
    case ']':  // EMPTY_LIST
      push_sequence({}, true);
      return true;
    case 'a': {  // APPEND
      const Value item = pop();
      add_to_list({item});
      return true;
    }
    case 'e':  // APPENDS
      add_to_list(pop_to_mark());
      return true;

    case '}':  // EMPTY_DICT
      push(add_dict(document_));
      return true;
    case 'd': {  // DICT
      const Items items = pop_to_mark();
      push(add_dict(document_));
      add_to_dict(items);
      return true;
    }
    case 's': {  // SETITEM
      const Value value = pop(), key = pop();
      add_to_dict({key, value});
      return true;
    }
    case 'u':  // SETITEMS
      add_to_dict(pop_to_mark());
      return true;

    case 'p':  // PUT
      remember(line_number());
      return true;
    case 'q':  // BINPUT
      remember(in_.number(1));
      return true;
    case 'r':  // LONG_BINPUT
      remember(in_.number(4));
      return true;
    case 0x94:  // MEMOIZE
      remember(memo_.size());
      return true;
    case 'g':  // GET
      recall(line_number());
      return true;
    case 'h':  // BINGET
      recall(in_.number(1));
      return true;
    case 'j':  // LONG_BINGET
      recall(in_.number(4));
      return true;

    case 'c': {  // GLOBAL
      const Bytes module = in_.line();
      push_global(view(module), view(in_.line()));
      return true;
    }
    case 0x93: {  // STACK_GLOBAL
      const Value name = pop(), module = pop();
      if (!std::holds_alternative<Text>(name) || !std::holds_alternative<Text>(module)) {
        throw Error("a global that is named by " + std::string(kind(name)));
      }
      push_global(view(std::get<Text>(module).bytes), view(std::get<Text>(name).bytes));
      return true;
    }
    case 'R': {  // REDUCE
      const Value arguments = pop(), callable = pop();
      push_call(callable, arguments);
      return true;
    }
    case 'b': {  // BUILD
      const Value state = pop();
      if (const auto* unbuilt = std::get_if<Unbuilt>(&top())) {
        document_.unbuilt[unbuilt->index].state = state;
      } else {
        dialect_.set_state(top(), state, document_);
      }
      return true;
    }
    case 'Q': {  // BINPERSID
      const auto value = dialect_.find_outside(pop(), document_);
      if (!value) refuse("operation " + hex(code));
      push(*value);
      return true;
    }
    default:
      if (!dialect_.passes_over_others()) refuse("operation " + hex(code));
      build_other(code);
      return true;
  }
}

/// Operations that only produce Unbuilt, and operations that move such values.
void Machine::build_other(std::uint8_t code) {
  switch (code) {
    case 'i': {  // INST
      const Bytes module = in_.line();
      const Bytes name = in_.line();
      push_sequence(pop_to_mark(), /*is_list=*/false);
      const Value arguments = pop();
      push_global(view(module), view(name));
      push_call(pop(), arguments);
      return;
    }
    case 'o': {  // OBJ
      Items items = pop_to_mark();
      if (items.empty()) throw Error("an object without a class");
      const Value type = items.front();
      items.erase(items.begin());
      push_sequence(std::move(items), /*is_list=*/false);
      push_call(type, pop());
      return;
    }
    case 0x92:  // NEWOBJ_EX
      pop();    // the arguments with names
      [[fallthrough]];
    case 0x81: {  // NEWOBJ
      const Value arguments = pop(), type = pop();
      push_call(type, arguments);
      return;
    }
    case 0x8f:  // EMPTY_SET
      return push_unbuilt("builtins", "set");
    case 0x90:  // ADDITEMS
      return add_to_list(pop_to_mark());
    case 0x91:  // FROZENSET
      pop_to_mark();
      return push_unbuilt("builtins", "frozenset");
    case '0':  // POP
      if (!marks_.empty() && marks_.back() == stack_.size()) {
        marks_.pop_back();
      } else {
        pop();
      }
      return;
    case '1':  // POP_MARK
      pop_to_mark();
      return;
    case '2':  // DUP
      return push(Value(top()));
    default:
      refuse("operation " + hex(code));
  }
}

void Machine::push_utf8(Bytes text) {
  if (is_ascii(text)) return push(Text{text, true});
  auto latin1 = latin1_from_utf8(text);
  push(latin1 ? Text{keep(std::move(latin1)), true} : Text{text, false});
}

void Machine::push_int(std::string_view digits) {
  if (digits == "00" || digits == "01") return push(digits == "01");
  if (digits.ends_with('L')) digits.remove_suffix(1);
  std::int64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value);
  if (error == std::errc::result_out_of_range && dialect_.passes_over_others()) {
    return push_unbuilt("builtins", "int");
  }
  if (error != std::errc() || stop != end) throw Error("a malformed number");
  push(value);
}

void Machine::push_float(std::string_view digits) {
  double value = 0;
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value);
  if (error != std::errc() || stop != end) throw Error("a malformed number");
  push(value);
}

void Machine::push_long(std::uint64_t size) {
  if (size > 8) {
    if (!dialect_.passes_over_others()) {
      throw Error("a number of " + std::to_string(size) + " bytes, want at most 8");
    }
    in_.take(size);
    return push_unbuilt("builtins", "int");
  }
  std::uint64_t value = in_.number(size);
  if (size > 0 && size < 8 && (value >> (8 * size - 1)) != 0)
    value |= ~std::uint64_t{0} << 8 * size;
  push(static_cast<std::int64_t>(value));
}

void Machine::push_global(std::string_view module, std::string_view name) {
  const auto global = dialect_.find_global(module, name);
  if (global) return push(*global);
  if (!dialect_.passes_over_others()) {
    refuse("global " + printable(module) + "." + printable(name));
  }
  push_unbuilt(module, name);
}

void Machine::push_unbuilt(std::string_view module, std::string_view name) {
  document_.unbuilt.push_back({.module = module, .name = name, .items = {}, .state = {}});
  push(Unbuilt{document_.unbuilt.size() - 1});
}

void Machine::push_call(const Value& callable, const Value& arguments) {
  const Items& items = tuple_items(arguments, document_);
  if (const auto* unbuilt = std::get_if<Unbuilt>(&callable)) {
    const auto [module, name] =
        std::pair(document_.unbuilt[unbuilt->index].module, document_.unbuilt[unbuilt->index].name);
    return push_unbuilt(module, name);
  }
  const auto* global = std::get_if<Global>(&callable);
  if (global == nullptr) throw Error("a call of " + std::string(kind(callable)));
  push(dialect_.call(*global, items, document_));
}

void Machine::push_tuple(std::size_t size) {
  std::vector<Value> items(size);
  std::generate(items.rbegin(), items.rend(), [&] { return pop(); });
  push_sequence(std::move(items), false);
}

void Machine::push_sequence(std::vector<Value> items, bool is_list) {
  document_.sequences.push_back(std::move(items));
  push(Sequence{document_.sequences.size() - 1, is_list});
}

Value Machine::pop() {
  const Value value = top();
  stack_.pop_back();
  return value;
}

Value& Machine::top() {
  if (stack_.size() == (marks_.empty() ? 0 : marks_.back())) {
    throw Error("an operation on an empty stack");
  }
  return stack_.back();
}

std::vector<Value> Machine::pop_to_mark() {
  if (marks_.empty()) throw Error("an operation that wants a mark, without one");
  const auto mark = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  std::vector<Value> items(mark, stack_.end());
  stack_.erase(mark, stack_.end());
  marks_.pop_back();
  return items;
}

void Machine::add_to_list(const Items& items) {
  if (std::holds_alternative<Unbuilt>(top())) return;
  const auto* list = std::get_if<Sequence>(&top());
  if (list == nullptr || !list->is_list) {
    throw Error("an item for " + std::string(kind(top())) + ", want a list");
  }
  Items& all = document_.sequences[list->index];
  all.insert(all.end(), items.begin(), items.end());
}

void Machine::add_to_dict(const Items& keys_and_values) {
  const auto* dict = std::get_if<Dict>(&top());
  const auto* unbuilt = std::get_if<Unbuilt>(&top());
  if (dict == nullptr && unbuilt == nullptr) {
    throw Error("an item for " + std::string(kind(top())) + ", want a dict");
  }
  if (keys_and_values.size() % 2 != 0) throw Error("a key of a dict without its value");
  DictItems& items =
      dict != nullptr ? document_.dicts[dict->index] : document_.unbuilt[unbuilt->index].items;
  for (std::size_t i = 0; i < keys_and_values.size(); i += 2) {
    items.emplace_back(keys_and_values[i], keys_and_values[i + 1]);
  }
}

void Machine::refuse(const std::string& what) const {
  throw Error(what + " is not allowed in " + std::string(dialect_.name()));
}

void Machine::remember(std::uint64_t index) {
  // Picklers number their memo entries in order, so no number exceeds the bytes read so far.
  if (index > in_.offset() - begin_)
    throw Error("memo number " + std::to_string(index) + " out of order");
  if (index >= memo_.size()) memo_.resize(index + 1);
  memo_[index] = top();
}

void Machine::recall(std::uint64_t index) {
  if (index >= memo_.size() || std::holds_alternative<std::monostate>(memo_[index])) {
    throw Error("memo number " + std::to_string(index) + " was never set");
  }
  push(memo_[index]);
}

std::uint64_t Machine::line_number() {
  const std::string_view digits = view(in_.line());
  std::uint64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value);
  if (error != std::errc() || stop != end) throw Error("a malformed memo number");
  return value;
}

Bytes Machine::keep(std::optional<std::vector<std::byte>> bytes) {
  if (!bytes) throw Error("text that is malformed or has characters beyond Latin-1");
  return document_.decoded.emplace_back(std::move(*bytes));
}

struct KindName {
  std::string_view operator()(std::monostate) const { return "nothing"; }
  std::string_view operator()(None) const { return "None"; }
  std::string_view operator()(bool) const { return "a bool"; }
  std::string_view operator()(std::int64_t) const { return "a number"; }
  std::string_view operator()(double) const { return "a number"; }
  std::string_view operator()(Bytes) const { return "bytes"; }
  std::string_view operator()(Text) const { return "a text"; }
  std::string_view operator()(Sequence s) const { return s.is_list ? "a list" : "a tuple"; }
  std::string_view operator()(Dict) const { return "a dict"; }
  std::string_view operator()(Global) const { return "a global"; }
  std::string_view operator()(const Object& object) const { return object.kind; }
  std::string_view operator()(Unbuilt) const { return "an object that is not read"; }
};

}  // namespace

std::string_view kind(const Value& value) {
  return std::visit(KindName{}, value);
}

std::string_view view(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::optional<std::string_view> as_text(const Value& value) {
  if (const auto* text = std::get_if<Text>(&value)) return view(text->bytes);
  if (const auto* bytes = std::get_if<Bytes>(&value)) return view(*bytes);
  return std::nullopt;
}

const Items& tuple_items(const Value& value, const Document& document) {
  const auto* tuple = std::get_if<Sequence>(&value);
  if (tuple == nullptr || tuple->is_list) {
    throw Error("found " + std::string(kind(value)) + ", want a tuple");
  }
  return document.sequences[tuple->index];
}

Value add_dict(Document& document) {
  document.dicts.emplace_back();
  return Dict{document.dicts.size() - 1};
}

Document read(std::string_view file, Bytes bytes, Dialect& dialect, std::size_t begin) {
  Machine machine(bytes, begin, dialect);
  std::size_t offset = begin;
  try {
    while (machine.step()) offset = machine.offset();
    return std::move(machine).finish();
  } catch (const Error& error) {
    throw DataError(file, "offset " + std::to_string(offset), error.what());
  }
}

}  // namespace pfc::pickle
