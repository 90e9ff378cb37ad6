#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace awq::text {

/// Walks the fields of one protobuf message. The only way to its bytes: every length is compared with what is left.
class ProtobufReader {
 public:
  enum class Wire : unsigned { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

  struct Field {
    std::uint32_t number = 0;
    Wire wire = Wire::kVarint;
    std::uint64_t value = 0;  ///< kVarint, kFixed64, kFixed32
    std::string_view bytes;   ///< kBytes
    std::size_t offset = 0;   ///< in the file
  };

  /// `bytes` must outlive the reader. `base` is their offset in the file `name`.
  ProtobufReader(std::string_view bytes, std::string name, std::size_t base = 0)
      : bytes_(bytes), name_(std::move(name)), base_(base) {}

  /// The next field, or nothing at the end. Throws kCorruptFile.
  std::optional<Field> next();

  /// Reads the message inside a field.
  ProtobufReader message(const Field& field) const;

  // Values of a field; throw kCorruptFile when it is of another wire type or out of range.
  std::string_view bytes(const Field& field) const;
  bool boolean(const Field& field) const;
  std::int64_t integer(const Field& field) const;
  float number(const Field& field) const;

 private:
  std::uint64_t varint();
  std::uint64_t little_endian(std::size_t bytes);
  [[noreturn]] void corrupt(std::size_t at, std::string_view found, std::string_view expected) const;
  void expect(const Field& field, Wire wire) const;

  std::string_view bytes_;
  std::string name_;
  std::size_t base_;
  std::size_t at_ = 0;
};

}  // namespace awq::text
