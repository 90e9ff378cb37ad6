#include "quantize/journal.h"

#include <span>
#include <string>

#include "base/check.h"
#include "file/input_file.h"
#include "file/sha256.h"

namespace awq::quantize {
namespace {

constexpr std::size_t kDigits = 16;
constexpr std::uint64_t kMaxBytes = 1ULL << 30;

std::string line_of(const file::OrderedJson& record) {
  const std::string json = record.dump();
  return file::sha256_hex(json).substr(0, kDigits) + " " + json + "\n";
}

}  // namespace

std::vector<file::OrderedJson> Journal::read(const std::filesystem::path& path) {
  std::vector<file::OrderedJson> records;
  if (!file::is_regular_file(path)) return records;
  const std::string text = file::read_text_file(path, kMaxBytes);
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = text.find('\n', begin);
    const bool last = end == std::string::npos || end + 1 == text.size();
    const std::string line = text.substr(begin, end == std::string::npos ? end : end - begin);
    const bool whole = end != std::string::npos && line.size() > kDigits + 1 && line[kDigits] == ' ' &&
                       file::sha256_hex(line.substr(kDigits + 1)).substr(0, kDigits) == line.substr(0, kDigits);
    if (!whole) {
      if (last) break;
      fail(ErrorCode::kCorruptFile, "{}: record {} is damaged; remove the folder to start over", path.string(),
           records.size());
    }
    records.push_back(file::parse_json<file::OrderedJson>(line.substr(kDigits + 1), path.string()));
    begin = end + 1;
  }
  return records;
}

Journal::Journal(const std::filesystem::path& path, const std::vector<file::OrderedJson>& keep)
    : file_(path, keep.empty() ? file::OutputFile::Mode::kCreate : file::OutputFile::Mode::kUpdate) {
  for (const file::OrderedJson& record : keep) end_ += line_of(record).size();
  file_.truncate(end_);
}

void Journal::append(const file::OrderedJson& record) {
  const std::string line = line_of(record);
  file_.write_at(end_, std::as_bytes(std::span(line)));
  file_.sync();
  end_ += line.size();
}

void check_binding(const file::OrderedJson& found, const file::OrderedJson& expected) {
  for (const auto& [key, value] : expected.items()) {
    const auto other = found.find(key);
    if (other == found.end() || *other != value) {
      fail(ErrorCode::kInvalidArgument,
           "cannot resume: the interrupted run had {} {}, this one has {}; use the same settings, or --force to start "
           "over",
           key, other == found.end() ? "none" : other->dump(), value.dump());
    }
  }
}

}  // namespace awq::quantize
