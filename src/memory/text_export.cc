#include "memory/text_export.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <system_error>

#include "base/files.h"
#include "memory/bank_files.h"
#include "memory/catalogue.h"

namespace msa {

namespace fs = std::filesystem;

Result<TextReport> export_texts(const fs::path& folder, const fs::path& file,
                                const std::function<void(uint64_t, uint64_t)>& progress,
                                std::stop_token stop) {
  MSA_TRY(check_is_bank(folder));
  if (!file.filename().string().ends_with(".jsonl"))
    return Error{
        Code::invalid_argument,
        fmt::format("{}: does not end in .jsonl; give the file such a name", file.string())};
  std::error_code ignored;
  if (fs::exists(fs::symlink_status(file, ignored)))
    return Error{
        Code::invalid_argument,
        fmt::format("{}: is there already; remove it or choose another name", file.string())};
  MSA_ASSIGN(const Catalogue catalogue,
             Catalogue::open(folder / kCatalogueFile, Catalogue::Access::read));
  MSA_ASSIGN([[maybe_unused]] const auto moment, catalogue.begin_read());
  MSA_ASSIGN(const CatalogueTotals totals, catalogue.totals());
  MSA_ASSIGN(AtomicFileWriter writer, AtomicFileWriter::create(file));

  TextReport report;
  const auto write = [&](const std::string& id, const std::string& source,
                         const DocumentRecord& document) -> Result<void> {
    nlohmann::ordered_json record = {{"id", id}, {"title", document.title}};
    record["text"] = document.text;
    record["source"] = source;
    const std::string line =
        record.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    ++report.records;
    return writer.write(std::as_bytes(std::span(line)));
  };
  const auto write_all = [&](const DocumentRecord& document) -> Result<void> {
    if (stop.stop_requested())
      return Error{Code::cancelled, fmt::format("{}: stopped; nothing was written", file.string())};
    if (document_hash(document.title, document.text) != document.hash)
      return Error{Code::corrupt,
                   fmt::format("{}: document {} ('{}'): title or text are not those that were "
                               "encoded; verify the bank",
                               folder.string(), document.number, document.id)};
    MSA_TRY(write(document.id, document.source, document));
    MSA_ASSIGN(const std::vector<AliasRecord> aliases, catalogue.aliases(document.number));
    for (const AliasRecord& alias : aliases) MSA_TRY(write(alias.id, alias.source, document));
    ++report.documents;
    if (progress) progress(report.documents, totals.documents);
    return {};
  };
  Result<void> written;
  MSA_TRY(catalogue.each_document(0, true, [&](const DocumentRecord& document) {
    written = write_all(document);
    return written.ok();
  }));
  MSA_TRY(std::move(written));
  report.bytes = writer.size();
  MSA_TRY(writer.commit());
  return report;
}

}  // namespace msa
