#include "quantize/staging.h"

#include <algorithm>

#include "base/check.h"

namespace awq::quantize {
namespace {

namespace fs = std::filesystem;

bool holds_something(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(path, ignored))) return false;
  return !fs::is_directory(path, ignored) || !fs::is_empty(path, ignored);
}

fs::path without_trailing_slash(const fs::path& path) {
  const fs::path absolute = fs::absolute(path).lexically_normal();
  return absolute.filename().empty() ? absolute.parent_path() : absolute;
}

/// Without links and dots, as far as the path exists.
fs::path resolved(const fs::path& path) {
  std::error_code error;
  const fs::path found = fs::weakly_canonical(path, error);
  return without_trailing_slash(error ? path : found);
}

bool is_inside(const fs::path& inner, const fs::path& outer) {
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

}  // namespace

fs::path staging_folder(const fs::path& output) {
  fs::path folder = without_trailing_slash(output);
  folder += ".awq-partial";
  return folder;
}

void check_output_apart(const fs::path& model, const fs::path& output) {
  if (output.empty()) fail(ErrorCode::kInvalidArgument, "--output: is empty, expected a folder to make");
  const fs::path in = resolved(model);
  const fs::path out = resolved(output);
  if (in == out)
    fail(ErrorCode::kInvalidArgument, "--output {}: is the model itself; expected another folder", output.string());
  if (is_inside(out, in) || is_inside(in, out)) {
    fail(ErrorCode::kInvalidArgument, "--output {} and the model {}: one lies inside the other", output.string(),
         model.string());
  }
}

Staging::Staging(fs::path output, bool force)
    : output_(without_trailing_slash(output)), folder_(staging_folder(output)), force_(force) {
  if (holds_something(output_) && !force) {
    fail(ErrorCode::kInvalidArgument, "{}: exists and is not empty; choose another folder, or --force to replace it",
         output_.string());
  }
  std::error_code ignored;
  if (const fs::path parent = output_.parent_path(); !fs::is_directory(parent, ignored)) {
    fail(ErrorCode::kIo, "{}: no such folder to write to", parent.string());
  }
  file::make_folder(folder_);
  lock_ = std::make_unique<file::FileLock>(folder_ / "lock");
}

void Staging::clear() {
  file::remove_tree(model());
  file::remove_tree(journal());
  file::remove_tree(hidden(0));
  file::remove_tree(hidden(1));
  file::make_folder(model());
}

void Staging::discard() noexcept {
  try {
    for (const fs::path& path : {model(), journal(), hidden(0), hidden(1), folder_ / "lock"}) file::remove_tree(path);
    std::error_code ignored;
    fs::remove(folder_, ignored);    // only when nothing else is in it
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): the failure that led here is the one to report
  }
}

void Staging::publish() {
  file::sync_folder(model());
  if (holds_something(output_)) {
    AWQ_CHECK(force_);
    file::exchange_paths(model(), output_);  // the old output is now in the staging folder and goes with it
  } else {
    file::rename_path(model(), output_);
  }
  file::sync_folder(output_.parent_path());
  file::remove_tree(folder_);
}

}  // namespace awq::quantize
