#include "file/json.h"

#include <unordered_set>
#include <vector>

#include "base/check.h"
#include "file/input_file.h"

namespace awq::file {
namespace {

/// Builds a document while checking what nlohmann's own builder lets pass: duplicate keys and depth.
template <typename J>
class StrictBuilder {
 public:
  using number_integer_t = typename J::number_integer_t;
  using number_unsigned_t = typename J::number_unsigned_t;
  using number_float_t = typename J::number_float_t;
  using string_t = typename J::string_t;
  using binary_t = typename J::binary_t;

  StrictBuilder(const std::string& name, const JsonLimits& limits) : name_(name), limits_(limits) {}

  J take() { return std::move(root_); }

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(number_integer_t value) { return add(value); }
  bool number_unsigned(number_unsigned_t value) { return add(value); }
  bool number_float(number_float_t value, const string_t&) { return add(value); }
  bool string(string_t& value) { return add(std::move(value)); }
  bool binary(binary_t&) { return false; }
  bool start_object(std::size_t) { return open(J::object()); }
  bool start_array(std::size_t) { return open(J::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(string_t& name) {
    if (!open_.back().keys.insert(name).second) {
      fail(ErrorCode::kCorruptFile, "{}: key \"{}\" appears twice in one object", name_, printable(name));
    }
    open_.back().next_key = std::move(name);
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) {
    fail(ErrorCode::kCorruptFile, "{}: not valid JSON at byte {}: {}", name_, position, printable(error.what(), 200));
  }

 private:
  struct Level {
    J value;
    std::string next_key;
    std::unordered_set<std::string> keys;
  };

  bool open(J container) {
    if (static_cast<int>(open_.size()) >= limits_.max_depth) {
      fail(ErrorCode::kCorruptFile, "{}: nested deeper than {} levels", name_, limits_.max_depth);
    }
    open_.push_back({std::move(container), {}, {}});
    return true;
  }

  bool close() {
    J done = std::move(open_.back().value);
    open_.pop_back();
    return add(std::move(done));
  }

  template <typename V>
  bool add(V&& value) {
    if (++values_ > limits_.max_values) {
      fail(ErrorCode::kCorruptFile, "{}: more than {} values", name_, limits_.max_values);
    }
    if (open_.empty()) {
      root_ = std::forward<V>(value);
      return true;
    }
    Level& level = open_.back();
    if (level.value.is_array()) {
      level.value.push_back(std::forward<V>(value));
    } else {
      auto* object = level.value.template get_ptr<typename J::object_t*>();
      // The key is known to be new: append without ordered_json's walk over all keys before it.
      if constexpr (std::is_same_v<J, OrderedJson>) {
        object->emplace_back(std::move(level.next_key), J(std::forward<V>(value)));
      } else {
        object->emplace(std::move(level.next_key), J(std::forward<V>(value)));
      }
    }
    return true;
  }

  const std::string& name_;
  const JsonLimits& limits_;
  std::uint64_t values_ = 0;
  J root_;
  std::vector<Level> open_;
};

}  // namespace

template <typename J>
J parse_json(std::string_view text, const std::string& name, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    fail(ErrorCode::kCorruptFile, "{}: {} bytes of JSON, expected at most {}", name, text.size(), limits.max_bytes);
  }
  StrictBuilder<J> builder(name, limits);
  if (!J::sax_parse(text.begin(), text.end(), &builder)) fail(ErrorCode::kCorruptFile, "{}: not valid JSON", name);
  return builder.take();
}

template <typename J>
J read_json_file(const std::filesystem::path& path, const JsonLimits& limits) {
  return parse_json<J>(read_text_file(path, limits.max_bytes), path.string(), limits);
}

template Json parse_json<Json>(std::string_view, const std::string&, const JsonLimits&);
template OrderedJson parse_json<OrderedJson>(std::string_view, const std::string&, const JsonLimits&);
template Json read_json_file<Json>(const std::filesystem::path&, const JsonLimits&);
template OrderedJson read_json_file<OrderedJson>(const std::filesystem::path&, const JsonLimits&);

}  // namespace awq::file
