#include "formats/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <optional>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/checked_math.h"
#include "file/json.h"

namespace awq::formats {
namespace {

using file::Json;

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::string_view kMetadataKey = "__metadata__";

static_assert(std::endian::native == std::endian::little, "tensors are read as they lie in the file");

/// Elements and bytes of a shape; nothing when a product overflows or the bits do not fill whole bytes.
std::optional<std::uint64_t> checked_elements(std::span<const std::uint64_t> shape) {
  std::optional<std::uint64_t> product = 1;
  for (const std::uint64_t extent : shape) {
    product = checked_mul(*product, extent);
    if (!product) return std::nullopt;
  }
  return product;
}

std::optional<std::uint64_t> checked_bytes(DType dtype, std::span<const std::uint64_t> shape) {
  const std::optional<std::uint64_t> elements = checked_elements(shape);
  if (!elements) return std::nullopt;
  const std::optional<std::uint64_t> bits = checked_mul(*elements, dtype_bits(dtype));
  if (!bits || *bits % 8 != 0) return std::nullopt;
  return *bits / 8;
}

/// Reads the entries of one header; every error names the file and the tensor.
class HeaderReader {
 public:
  HeaderReader(const std::string& file_name, std::uint64_t data_begin, std::uint64_t file_size)
      : file_name_(file_name), data_begin_(data_begin), data_size_(file_size - data_begin) {}

  SafetensorsHeader read(const Json& document) const {
    if (!document.is_object()) fail(ErrorCode::kCorruptFile, "{}: the header is not a JSON object", file_name_);
    SafetensorsHeader header;
    header.tensors.reserve(document.size());
    for (const auto& [name, entry] : document.items()) {
      if (name.find('\0') != std::string::npos) corrupt(name, "the name contains a zero byte");
      if (name == kMetadataKey) {
        header.metadata = read_metadata(entry);
      } else {
        header.tensors.push_back(read_entry(name, entry));
      }
    }
    check_coverage(header.tensors);
    return header;
  }

 private:
  [[noreturn]] void corrupt(const std::string& tensor, const std::string& what) const {
    fail(ErrorCode::kCorruptFile, "{}: tensor \"{}\": {}", file_name_, printable(tensor), what);
  }

  std::map<std::string, std::string> read_metadata(const Json& entry) const {
    if (!entry.is_object()) fail(ErrorCode::kCorruptFile, "{}: {} is not an object", file_name_, kMetadataKey);
    std::map<std::string, std::string> metadata;
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string()) {
        fail(ErrorCode::kCorruptFile, "{}: {}.{} is not a string", file_name_, kMetadataKey, printable(key));
      }
      metadata.emplace(key, value.get_ref<const std::string&>());
    }
    return metadata;
  }

  const Json& field(const std::string& tensor, const Json& entry, const char* key) const {
    const auto found = entry.find(key);
    if (found == entry.end()) corrupt(tensor, fmt::format("{} is missing", key));
    return *found;
  }

  std::vector<std::uint64_t> unsigned_array(const std::string& tensor, const Json& entry, const char* key) const {
    const Json& value = field(tensor, entry, key);
    if (!value.is_array()) corrupt(tensor, fmt::format("{} is not an array", key));
    std::vector<std::uint64_t> numbers;
    numbers.reserve(value.size());
    for (const Json& item : value) {
      if (!item.is_number_unsigned()) corrupt(tensor, fmt::format("{} holds a value that is no unsigned integer", key));
      numbers.push_back(item.get<std::uint64_t>());
    }
    return numbers;
  }

  /// The tensor with its offset still relative to the data.
  StoredTensor read_entry(const std::string& name, const Json& entry) const {
    if (!entry.is_object()) corrupt(name, "the entry is not an object");
    const Json& tag = field(name, entry, "dtype");
    if (!tag.is_string()) corrupt(name, "dtype is not a string");
    const std::optional<DType> dtype = parse_dtype(tag.get_ref<const std::string&>());
    if (!dtype) {
      corrupt(name, fmt::format("dtype \"{}\" is unknown", printable(tag.get_ref<const std::string&>(), 40)));
    }
    StoredTensor tensor;
    tensor.name = name;
    tensor.dtype = *dtype;
    tensor.shape = unsigned_array(name, entry, "shape");
    const std::vector<std::uint64_t> offsets = unsigned_array(name, entry, "data_offsets");
    if (offsets.size() != 2) corrupt(name, fmt::format("data_offsets has {} values, expected 2", offsets.size()));
    if (offsets[1] < offsets[0]) {
      corrupt(name, fmt::format("data_offsets [{}, {}] end before they begin", offsets[0], offsets[1]));
    }
    const std::optional<std::uint64_t> bytes = checked_bytes(tensor.dtype, tensor.shape);
    if (!bytes) {
      corrupt(name, fmt::format("shape {} of {} has no valid size in bytes", shape_string(tensor.shape),
                                dtype_name(tensor.dtype)));
    }
    if (offsets[1] - offsets[0] != *bytes) {
      corrupt(name,
              fmt::format("data_offsets [{}, {}] hold {} bytes, expected {} (shape {} of {})", offsets[0], offsets[1],
                          offsets[1] - offsets[0], *bytes, shape_string(tensor.shape), dtype_name(tensor.dtype)));
    }
    tensor.offset = offsets[0];
    return tensor;
  }

  /// Sorts by position and checks that the data are covered once, without gap, overlap or rest. Makes the offsets
  /// count from the start of the file.
  void check_coverage(std::vector<StoredTensor>& tensors) const {
    std::sort(tensors.begin(), tensors.end(), [](const StoredTensor& a, const StoredTensor& b) {
      return std::tuple(a.offset, a.size_bytes(), std::string_view(a.name)) <
             std::tuple(b.offset, b.size_bytes(), std::string_view(b.name));
    });
    std::uint64_t covered = 0;
    for (StoredTensor& tensor : tensors) {
      if (tensor.offset != covered) {
        corrupt(tensor.name,
                fmt::format("data_offsets begin at {}, expected {} (a gap or an overlap)", tensor.offset, covered));
      }
      covered += tensor.size_bytes();  // the end offset from the file: no overflow
      if (covered > data_size_) {
        corrupt(tensor.name, fmt::format("data end at byte {} of {}: the file is cut short", covered, data_size_));
      }
      tensor.offset += data_begin_;
    }
    if (covered != data_size_) {
      fail(ErrorCode::kCorruptFile, "{}: {} bytes of data after the header, expected {} from the header", file_name_,
           data_size_, covered);
    }
  }

  const std::string& file_name_;
  std::uint64_t data_begin_;
  std::uint64_t data_size_;
};

/// The header's length, checked against the file.
std::uint64_t header_length(std::string_view head, std::uint64_t file_size, const std::string& name) {
  if (file_size < kLengthBytes || head.size() < kLengthBytes) {
    fail(ErrorCode::kCorruptFile, "{}: {} bytes, too short for a safetensors file", name, file_size);
  }
  std::uint64_t length = 0;
  std::memcpy(&length, head.data(), kLengthBytes);
  if (length > kMaxHeaderBytes) {
    fail(ErrorCode::kCorruptFile, "{}: header length {}, expected at most {}", name, length, kMaxHeaderBytes);
  }
  if (length > file_size - kLengthBytes) {
    fail(ErrorCode::kCorruptFile, "{}: header length {}, but only {} bytes follow", name, length,
         file_size - kLengthBytes);
  }
  return length;
}

}  // namespace

std::uint64_t TensorSpec::elements() const {
  const std::optional<std::uint64_t> count = checked_elements(shape);
  AWQ_CHECK(count.has_value());
  return *count;
}

std::uint64_t TensorSpec::size_bytes() const {
  const std::optional<std::uint64_t> bytes = checked_bytes(dtype, shape);
  AWQ_CHECK(bytes.has_value());
  return *bytes;
}

std::string shape_string(std::span<const std::uint64_t> shape) {
  constexpr std::size_t kMaxShown = 8;  // a shape from a hostile file may have millions of dimensions
  if (shape.size() <= kMaxShown) return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", "));
  return fmt::format("[{}, ... {} dimensions]", fmt::join(shape.begin(), shape.begin() + kMaxShown, ", "),
                     shape.size());
}

SafetensorsHeader parse_safetensors_header(std::string_view head, std::uint64_t file_size, const std::string& name) {
  const std::uint64_t length = header_length(head, file_size, name);
  if (head.size() - kLengthBytes < length) {
    fail(ErrorCode::kCorruptFile, "{}: {} bytes of the header, expected {}", name, head.size() - kLengthBytes, length);
  }
  const std::string_view text = head.substr(kLengthBytes, static_cast<std::size_t>(length));
  if (text.empty() || text.front() != '{') {
    fail(ErrorCode::kCorruptFile, "{}: the header does not start with '{{': not a safetensors file", name);
  }
  const Json document = file::parse_json<Json>(text, name, {.max_depth = 8, .max_bytes = kMaxHeaderBytes});
  return HeaderReader(name, kLengthBytes + length, file_size).read(document);
}

SafetensorsHeader read_safetensors_header(const file::InputFile& input) {
  const std::string name = input.path().string();
  std::string head(static_cast<std::size_t>(std::min(kLengthBytes, input.size_bytes())), '\0');
  input.read_at(0, std::as_writable_bytes(std::span(head.data(), head.size())));
  const std::uint64_t length = header_length(head, input.size_bytes(), name);
  head.resize(static_cast<std::size_t>(kLengthBytes + length));
  input.read_at(kLengthBytes, std::as_writable_bytes(std::span(head.data(), head.size()).subspan(kLengthBytes)));
  return parse_safetensors_header(head, input.size_bytes(), name);
}

SafetensorsLayout plan_safetensors(std::vector<TensorSpec> tensors) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorSpec& a, const TensorSpec& b) {
    return a.dtype != b.dtype ? a.dtype > b.dtype : a.name < b.name;
  });
  SafetensorsLayout layout;
  layout.tensors.reserve(tensors.size());
  std::string& head = layout.head;
  head.assign(kLengthBytes, '\0');
  head += R"({"__metadata__":{"format":"pt"})";
  std::uint64_t data_end = 0;
  for (TensorSpec& spec : tensors) {
    const std::optional<std::uint64_t> bytes = checked_bytes(spec.dtype, spec.shape);
    const std::optional<std::uint64_t> end = bytes ? checked_add(data_end, *bytes) : std::nullopt;
    AWQ_CHECK(end.has_value() && spec.name != kMetadataKey);
    fmt::format_to(std::back_inserter(head), R"(,{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                   Json(spec.name).dump(), dtype_name(spec.dtype), fmt::join(spec.shape, ","), data_end, *end);
    StoredTensor stored;
    static_cast<TensorSpec&>(stored) = std::move(spec);
    stored.offset = data_end;
    layout.tensors.push_back(std::move(stored));
    data_end = *end;
  }
  head += '}';
  head.resize((head.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = head.size() - kLengthBytes;
  if (length > kMaxHeaderBytes) {
    fail(ErrorCode::kUnsupported, "{} tensors need a header of {} bytes, a safetensors file has at most {}",
         layout.tensors.size(), length, kMaxHeaderBytes);
  }
  std::memcpy(head.data(), &length, kLengthBytes);

  for (StoredTensor& tensor : layout.tensors) tensor.offset += head.size();
  const std::optional<std::uint64_t> file_size = checked_add(head.size(), data_end);
  AWQ_CHECK(file_size.has_value());
  layout.file_size = *file_size;

  std::vector<std::string_view> names;
  names.reserve(layout.tensors.size());
  for (const StoredTensor& tensor : layout.tensors) names.push_back(tensor.name);
  std::sort(names.begin(), names.end());
  AWQ_CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
  return layout;
}

}  // namespace awq::formats
