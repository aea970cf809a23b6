// Implements msa/transfer.h, but for encode_shard().
#include "msa/transfer.h"

#include <utility>

#include "engine/guard.h"
#include "memory/archive.h"
#include "memory/attachment.h"
#include "memory/text_export.h"

namespace msa {
namespace {

// Progress of work that does one thing only.
std::function<void(uint64_t, uint64_t)> one_thing(const TransferProgress& progress,
                                                  std::string_view doing) {
  if (!progress) return {};
  return [&progress, doing](uint64_t done, uint64_t all) { progress(doing, done, all); };
}

Result<ExportReport> report_of(const Result<ArchiveReport>& outcome) {
  if (!outcome) return outcome.error();
  return ExportReport{outcome->documents, outcome->segments, outcome->bytes,
                      outcome->archive_bytes};
}

}  // namespace

Result<AttachReport> attach(const std::filesystem::path& folder,
                            const std::vector<std::filesystem::path>& others,
                            const AttachOptions& options, const TransferProgress& progress,
                            std::stop_token stop) {
  return guarded("attaching banks", [&]() -> Result<AttachReport> {
    MSA_ASSIGN(AttachmentReport done,
               attach_banks(folder, others, {options.replace, options.move},
                            one_thing(progress, "attaching"), std::move(stop)));
    AttachReport report;
    report.documents = done.documents;
    report.chunks = done.chunks;
    report.tokens = done.tokens;
    report.duplicates = done.aliases;
    report.already_there = done.already_there;
    report.replaced = done.replaced;
    report.segments = done.segments;
    report.copied_bytes = done.copied_bytes;
    report.moved_bytes = done.linked_bytes;
    report.left = std::move(done.left);
    return report;
  });
}

Result<ExportReport> export_bank_file(const std::filesystem::path& folder,
                                      const std::filesystem::path& file,
                                      const TransferProgress& progress, std::stop_token stop) {
  return guarded("exporting the bank",
                 [&] { return report_of(export_bank(folder, file, progress, std::move(stop))); });
}

Result<ExportReport> import_bank_file(const std::filesystem::path& file,
                                      const std::filesystem::path& folder,
                                      const TransferProgress& progress, std::stop_token stop) {
  return guarded("importing the bank",
                 [&] { return report_of(import_bank(file, folder, progress, std::move(stop))); });
}

Result<ExportTextsReport> export_texts_file(const std::filesystem::path& folder,
                                            const std::filesystem::path& file,
                                            const TransferProgress& progress,
                                            std::stop_token stop) {
  return guarded("exporting documents", [&]() -> Result<ExportTextsReport> {
    MSA_ASSIGN(const TextReport done,
               export_texts(folder, file, one_thing(progress, "writing"), std::move(stop)));
    return ExportTextsReport{done.documents, done.records, done.bytes};
  });
}

}  // namespace msa
