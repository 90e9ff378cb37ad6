#include "quantize/staging.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/check.h"
#include "file/input_file.h"
#include "file/sha256.h"
#include "quantize/journal.h"

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

/// The output folder's absolute path. Where a link leads to a folder, that folder is what gets replaced.
fs::path output_folder(const fs::path& output) {
  fs::path folder = without_trailing_slash(output);
  std::error_code error;
  if (!fs::is_symlink(folder, error) || !fs::is_directory(folder, error)) return folder;
  const fs::path target = fs::canonical(folder, error);
  return error ? folder : target;
}

bool is_mount_point(const fs::path& path) {
  struct statx info {};
  if (statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, 0, &info) != 0) return false;
  return (info.stx_attributes_mask & info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

constexpr std::uint64_t kLargestJson = 64ULL << 20;

/// The object in a JSON file; null where there is none. A file that cannot be read at all is an error.
file::Json read_object(const fs::path& path) {
  if (!file::is_regular_file(path)) return {};
  const std::string text = file::read_text_file(path, kLargestJson);
  try {
    file::Json found = file::parse_json(text, path.string(), {.max_bytes = kLargestJson});
    return found.is_object() ? found : file::Json();
  } catch (const Error&) {
    return {};
  }
}

/// Null for a folder that this program made: a manifest with its rows, or (should that be lost) a report beside the
/// configuration of a quantized model, and no folders. Else what is wrong with it, in words.
std::string why_not_ours(const fs::path& folder) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code unknown;
    if (entry->is_directory(unknown)) {
      return fmt::format("holds the folder {}", printable(entry->path().filename().string()));
    }
  }
  if (error) return "cannot be listed: " + error.message();
  const file::Json manifest = read_object(folder / kManifest);
  const file::Json rows = manifest.is_null() ? file::Json() : manifest.value("files", file::Json());
  const bool listed = rows.is_object() && rows.contains("config.json") &&
                      std::all_of(rows.begin(), rows.end(),
                                  [](const file::Json& row) { return row.is_object() && row.contains("sha256"); });
  const bool described = read_object(folder / "config.json").contains("quantization_config") &&
                         read_object(folder / "awq_report.json").contains("method");
  return listed || described ? "" : "has no awq_manifest.json of an earlier run";
}

/// Throws unless a finished folder can take the name of the output at the end of the run. Only what this program made
/// is ever replaced: `-o ~ --force` must not cost anybody a home.
void check_replaceable(const fs::path& output, bool force) {
  if (is_mount_point(output)) {
    fail(ErrorCode::kInvalidArgument,
         "{}: is a mount point, whose name a new folder cannot take; choose a folder in it", output.string());
  }
  if (!holds_something(output)) return;
  if (std::error_code ignored; !fs::is_directory(output, ignored)) {
    fail(ErrorCode::kInvalidArgument, "{}: is no folder, and --force replaces only folders; choose another name",
         output.string());
  }
  if (const std::string reason = why_not_ours(output); !reason.empty()) {
    fail(ErrorCode::kInvalidArgument,
         "{}: is not empty and {}: --force replaces only what awq made; choose another folder, or empty this one",
         output.string(), reason);
  }
  if (!force) {
    fail(ErrorCode::kInvalidArgument, "{}: holds an earlier output; choose another folder, or --force to replace it",
         output.string());
  }
}

/// Without links and dots, as far as the path exists.
fs::path resolved(const fs::path& path) {
  std::error_code error;
  const fs::path found = fs::weakly_canonical(path, error);
  return without_trailing_slash(error ? path : found);
}

constexpr const char* kLock = "lock";

/// Removes what a run puts into its folder, and the folder when nothing else is in it. The caller holds the lock, whose
/// name goes last: as soon as it is gone another run may start here.
void remove_work(const fs::path& folder) {
  for (const char* name : {"model", "model.swap", "hidden.0", "hidden.1", "journal", kLock}) {
    file::remove_tree(folder / name);
  }
  file::remove_empty_folder(folder);
}

bool is_inside(const fs::path& inner, const fs::path& outer) {
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

}  // namespace

fs::path staging_folder(const fs::path& output) {
  fs::path folder = output_folder(output);
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

Staging::Staging(const fs::path& output, bool force)
    : output_(output_folder(output)), folder_(staging_folder(output)), force_(force) {
  check_replaceable(output_, force);
  std::error_code ignored;
  if (const fs::path parent = output_.parent_path(); !fs::is_directory(parent, ignored)) {
    fail(ErrorCode::kIo, "{}: no such folder to write to", parent.string());
  }
  for (int attempt = 0; lock_ == nullptr; ++attempt) {
    file::make_folder(folder_);
    try {
      lock_ = std::make_unique<file::FileLock>(folder_ / kLock);
    } catch (const Error&) {
      // A run that ends may have removed the folder in between.
      if (attempt == 2 || fs::exists(folder_, ignored)) throw;
    }
  }
}

void Staging::check_ours() const {
  if (lock_->is_in_place()) return;
  fail(ErrorCode::kIo, "{}: is no longer the folder that this run works in; was it moved or removed?",
       folder_.string());
}

void Staging::clear() {
  check_ours();
  file::remove_tree(model());
  file::remove_tree(journal());
  file::remove_tree(hidden(0));
  file::remove_tree(hidden(1));
  file::make_folder(model());
}

void Staging::discard() noexcept {
  try {
    if (lock_->is_in_place()) remove_work(folder_);
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): the failure that led here is the one to report
  }
}

void Staging::publish() {
  check_ours();
  file::sync_folder(model());
  check_replaceable(output_, force_);  // somebody may have taken the name in the meantime
  if (holds_something(output_)) {
    file::exchange_paths(model(), output_);  // the old output is now in the staging folder and goes with it
  } else {
    file::rename_path(model(), output_);
  }
  file::sync_folder(output_.parent_path());
  remove_work(folder_);
}

bool Staging::holds_finished_layers() const {
  try {
    if (!lock_->is_in_place()) return false;
    return Journal::read(journal()).size() > 1;
  } catch (const Error&) {
    return true;
  }
}

bool is_published(const std::filesystem::path& output) {
  const std::filesystem::path manifest = output / kManifest;
  if (!file::is_regular_file(manifest) || !file::is_regular_file(output / kRun)) return false;
  const std::vector<file::OrderedJson> records = Journal::read(staging_folder(output) / "journal");
  return records.empty() || records.back().value("publish", "") == file::sha256_file(manifest);
}

void remove_leftovers(const std::filesystem::path& output) {
  const fs::path folder = staging_folder(output);
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) return;
  try {
    const file::FileLock lock(folder / kLock);
    if (is_published(output)) remove_work(folder);  // else a run came and went in the meantime
  } catch (const Error&) {
    if (fs::exists(folder, ignored)) throw;  // its run removed it itself
  }
}

}  // namespace awq::quantize
