#include "text/protobuf_reader.h"

#include <bit>

#include "base/check.h"

namespace awq::text {

void ProtobufReader::corrupt(std::size_t at, std::string_view found, std::string_view expected) const {
  fail(ErrorCode::kCorruptFile, "{}: byte {}: found {}, expected {}", name_, base_ + at, found, expected);
}

std::uint64_t ProtobufReader::varint() {
  const std::size_t begin = at_;
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (at_ == bytes_.size()) corrupt(begin, "the end of the message", "a number");
    const std::uint64_t byte = static_cast<unsigned char>(bytes_[at_++]);
    if (shift == 63 && byte > 1) break;
    value |= (byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  corrupt(begin, "a number of more than 64 bits", "a smaller one");
}

std::uint64_t ProtobufReader::little_endian(std::size_t count) {
  if (bytes_.size() - at_ < count) corrupt(at_, "the end of the message", fmt::format("{} bytes", count));
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < count; ++i) {
    value |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes_[at_ + i])) << (8 * i);
  }
  at_ += count;
  return value;
}

std::optional<ProtobufReader::Field> ProtobufReader::next() {
  if (at_ == bytes_.size()) return std::nullopt;
  Field field;
  field.offset = base_ + at_;
  const std::size_t begin = at_;
  const std::uint64_t tag = varint();
  if (tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF)
    corrupt(begin, fmt::format("field number {}", tag >> 3), "1 to 536870911");
  field.number = static_cast<std::uint32_t>(tag >> 3);
  switch (tag & 7) {
    case 0:
      field.wire = Wire::kVarint;
      field.value = varint();
      return field;
    case 1:
      field.wire = Wire::kFixed64;
      field.value = little_endian(8);
      return field;
    case 2: {
      field.wire = Wire::kBytes;
      const std::uint64_t length = varint();
      if (length > bytes_.size() - at_) {
        corrupt(begin, fmt::format("a length of {} bytes", length), fmt::format("at most {}", bytes_.size() - at_));
      }
      field.bytes = bytes_.substr(at_, static_cast<std::size_t>(length));
      at_ += static_cast<std::size_t>(length);
      return field;
    }
    case 5:
      field.wire = Wire::kFixed32;
      field.value = little_endian(4);
      return field;
    default:
      corrupt(begin, fmt::format("wire type {}", tag & 7), "0, 1, 2 or 5");
  }
}

void ProtobufReader::expect(const Field& field, Wire wire) const {
  if (field.wire == wire) return;
  corrupt(field.offset - base_, fmt::format("wire type {}", static_cast<unsigned>(field.wire)),
          fmt::format("{} for field {}", static_cast<unsigned>(wire), field.number));
}

ProtobufReader ProtobufReader::message(const Field& field) const {
  const std::string_view inner = bytes(field);
  return {inner, name_, base_ + static_cast<std::size_t>(inner.data() - bytes_.data())};
}

std::string_view ProtobufReader::bytes(const Field& field) const {
  expect(field, Wire::kBytes);
  return field.bytes;
}

bool ProtobufReader::boolean(const Field& field) const {
  expect(field, Wire::kVarint);
  return field.value != 0;
}

std::int64_t ProtobufReader::integer(const Field& field) const {
  expect(field, Wire::kVarint);
  return static_cast<std::int64_t>(field.value);
}

float ProtobufReader::number(const Field& field) const {
  expect(field, Wire::kFixed32);
  return std::bit_cast<float>(static_cast<std::uint32_t>(field.value));
}

}  // namespace awq::text
