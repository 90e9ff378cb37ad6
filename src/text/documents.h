#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace awq::text {

/// A text for calibration or evaluation.
struct Documents {
  std::vector<std::string> texts;  ///< not empty, none of them blank, valid UTF-8
  bool is_list = false;            ///< separate documents; false: one running text
};

/// Reads a .jsonl file (a "text" string, or "messages" whose contents are joined by blank lines, per line) as a list;
/// any other file as one text, or as a list where lines that are exactly <|endoftext|> separate documents. Throws
/// kNotFound, kCorruptFile (empty, invalid UTF-8, a line that is no such object) with file and line.
Documents read_documents(const std::filesystem::path& path);
/// The same on the contents of a text file; `name` is used in messages.
Documents split_documents(std::string_view text, const std::string& name);

}  // namespace awq::text
