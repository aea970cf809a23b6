#include "engine/bank_handle.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "approximate/bank_index.h"
#include "base/hash.h"
#include "engine/guard.h"
#include "engine/ingest.h"
#include "engine/model_handle.h"
#include "memory/numbering.h"
#include "msa/transfer.h"

namespace msa {
namespace {

StoredDocument stored(const DocumentRecord& record) {
  StoredDocument document;
  document.number = record.number;
  document.id = record.id;
  document.title = record.title;
  document.source = record.source;
  document.text = record.text;
  document.char_begin = record.char_begin;
  document.char_end = record.char_end;
  document.tokens = record.tokens;
  document.chunks = record.chunks;
  return document;
}

Result<StoredDocument> with_aliases(const Catalogue& catalogue, const DocumentRecord& record) {
  StoredDocument document = stored(record);
  MSA_ASSIGN(const std::vector<AliasRecord> aliases, catalogue.aliases(record.number));
  for (const AliasRecord& alias : aliases) document.aliases.push_back(alias.id);
  return document;
}

Error no_such_number(const std::filesystem::path& bank, uint32_t number) {
  return {Code::not_found,
          fmt::format("{}: there is no document {}; list the documents to see the numbers",
                      bank.string(), number)};
}

Error no_such_id(const std::filesystem::path& bank, std::string_view id) {
  return {Code::not_found,
          fmt::format("{}: there is no document with id '{}'; list the documents to see the ids",
                      bank.string(), id)};
}

// The format that a new bank gets.
Result<ContentFormat> content_format(ContentType wanted, DType computed) {
  if (wanted == ContentType::automatic) return ContentFormat::full;
  if (wanted == ContentType::int8) return ContentFormat::int8;
  const DType dtype = wanted == ContentType::f32 ? DType::f32 : DType::bf16;
  if (dtype == computed) return ContentFormat::full;
  return Error{Code::mismatch,
               fmt::format("pooled keys and values in {}: this model computes in {}; ask for int8, "
                           "or for the precision {} of the model",
                           name_of(dtype), name_of(computed), name_of(dtype))};
}

std::string_view content_name(const BankManifest& manifest) {
  return manifest.content == ContentFormat::int8 ? "int8" : name_of(manifest.dtype);
}

Result<std::shared_ptr<Bank::Impl>> open_reader(const std::filesystem::path& folder) {
  auto impl = std::make_shared<Bank::Impl>();
  MSA_ASSIGN(impl->reader, BankReader::open(folder));
  return impl;
}

}  // namespace

Result<Bank> Bank::open(const std::filesystem::path& folder) {
  return guarded("opening the bank", [&]() -> Result<Bank> {
    MSA_ASSIGN(auto impl, open_reader(folder));
    return Bank(std::move(impl));
  });
}

Result<Bank> Bank::open_or_create(const std::filesystem::path& folder, const Model& model,
                                  const BankOptions& options) {
  return guarded("opening the bank", [&]() -> Result<Bank> {
    BankManifest wanted = model.impl().manifest();
    MSA_ASSIGN(wanted.content, content_format(options.content, wanted.dtype));
    {  // makes the bank, or checks that it is this model's; the lock is held only meanwhile
      MSA_ASSIGN(auto writer, BankWriter::open_or_create(folder, wanted));
    }
    MSA_ASSIGN(auto impl, open_reader(folder));
    const BankManifest& manifest = impl->reader->manifest();
    if (options.content != ContentType::automatic && manifest.content != wanted.content)
      return Error{Code::mismatch,
                   fmt::format("{}: stores pooled keys and values as {}, not as {}; leave that to "
                               "the bank, or use a new bank folder",
                               folder.string(), content_name(manifest), content_name(wanted))};
    return Bank(std::move(impl));
  });
}

Result<BankInfo> Bank::info() const {
  return guarded("reading the bank", [&]() -> Result<BankInfo> {
    const std::lock_guard lock(impl_->busy);
    const BankManifest& manifest = impl_->reader->manifest();
    BankInfo info;
    info.path = impl_->reader->folder();
    info.router_layers = manifest.router_layers;
    info.kv_heads = manifest.kv_heads;
    info.head_dim = manifest.head_dim;
    info.chunk_size = manifest.chunk_size;
    info.dtype = name_of(manifest.dtype);
    info.content = content_name(manifest);
    info.similarity = manifest.cosine ? "cosine" : "dot";
    info.model_fingerprint = to_hex(manifest.model_fingerprint);
    info.tokenizer_fingerprint = to_hex(manifest.tokenizer_fingerprint);
    MSA_ASSIGN(const CatalogueTotals totals, impl_->reader->catalogue().totals());
    info.documents = totals.documents;
    info.chunks = totals.chunks;
    info.tokens = totals.tokens;
    info.segments = totals.segments;
    info.text_bytes = totals.text_bytes;
    info.aliases = totals.aliases;
    info.dead_chunks = totals.segment_chunks - std::min(totals.segment_chunks, totals.chunks);
    const SegmentShape shape = manifest.segment_shape();
    const uint64_t rows = totals.chunks * shape.router_layers.size();
    info.key_bytes = rows * shape.key_row_bytes();
    info.content_bytes = rows * shape.content_row_bytes();
    MSA_ASSIGN(info.disk_bytes, impl_->reader->disk_bytes());
    return info;
  });
}

Result<std::vector<StoredDocument>> Bank::list(uint32_t first, size_t limit) const {
  return guarded("reading the bank", [&]() -> Result<std::vector<StoredDocument>> {
    const std::lock_guard lock(impl_->busy);
    std::vector<StoredDocument> documents;
    if (limit == 0) return documents;
    const Catalogue& catalogue = impl_->reader->catalogue();
    Result<void> aliases;
    MSA_TRY(catalogue.each_document(first, false, [&](const DocumentRecord& record) {
      Result<StoredDocument> document = with_aliases(catalogue, record);
      if (!document) {
        aliases = std::move(document).error();
        return false;
      }
      documents.push_back(std::move(*document));
      return documents.size() < limit;
    }));
    MSA_TRY(std::move(aliases));
    return documents;
  });
}

Result<StoredDocument> Bank::document(uint32_t number) const {
  return guarded("reading the bank", [&]() -> Result<StoredDocument> {
    const std::lock_guard lock(impl_->busy);
    MSA_ASSIGN(const auto record, impl_->reader->catalogue().find(number));
    if (!record) return no_such_number(impl_->reader->folder(), number);
    return with_aliases(impl_->reader->catalogue(), *record);
  });
}

Result<StoredDocument> Bank::document_by_id(std::string_view id) const {
  return guarded("reading the bank", [&]() -> Result<StoredDocument> {
    const std::lock_guard lock(impl_->busy);
    const Catalogue& catalogue = impl_->reader->catalogue();
    MSA_ASSIGN(const auto moment, catalogue.begin_read());
    MSA_ASSIGN(const auto head, catalogue.find_id(id));
    if (!head) return no_such_id(impl_->reader->folder(), id);
    MSA_ASSIGN(const auto record, catalogue.find(head->number));
    if (!record)
      return Error{Code::corrupt, fmt::format("{}: document {} cannot be found by its number; "
                                              "verify the bank",
                                              impl_->reader->folder().string(), head->number)};
    return with_aliases(catalogue, *record);
  });
}

Result<VerifyReport> Bank::verify(std::function<void(uint64_t, uint64_t)> progress,
                                  std::stop_token stop) const {
  return guarded("verifying the bank", [&]() -> Result<VerifyReport> {
    const std::lock_guard lock(impl_->busy);
    MSA_ASSIGN(const auto found, impl_->reader->verify(progress, stop));
    VerifyReport report;
    report.segments = found.segments;
    report.documents = found.documents;
    report.bytes = found.bytes;
    report.problems = found.problems;
    return report;
  });
}

Result<RemovalReport> Bank::remove(std::span<const std::string> ids,
                                   std::span<const uint32_t> numbers) {
  return guarded("removing documents", [&]() -> Result<RemovalReport> {
    const std::filesystem::path& folder = impl_->reader->folder();
    MSA_ASSIGN(const auto writer, BankWriter::open(folder));
    // An error before the commit leaves the bank as it is: what is pending goes with the writer.
    RemovalReport report;
    const auto remove = [&](const std::string& name) -> Result<void> {
      MSA_ASSIGN(const BankWriter::Removed removed, writer->remove(name));
      report.names += removed != BankWriter::Removed::nothing;
      report.documents += removed == BankWriter::Removed::document;
      return {};
    };
    // All are looked up before anything is removed: one may be meant twice, by number and by id.
    std::vector<std::string> names;
    for (const uint32_t number : numbers) {
      MSA_ASSIGN(std::vector<std::string> all, writer->names(number));
      if (all.empty()) return no_such_number(folder, number);
      std::move(all.begin(), all.end(), std::back_inserter(names));
    }
    for (const std::string& id : ids) {
      MSA_ASSIGN(std::vector<std::string> all, names_under(*writer, id));
      if (all.empty()) return no_such_id(folder, id);
      std::move(all.begin(), all.end(), std::back_inserter(names));
    }
    for (const std::string& name : names) MSA_TRY(remove(name));
    MSA_TRY(writer->commit());
    return report;
  });
}

Result<CompactReport> Bank::compact(const CompactOptions& options,
                                    std::function<void(uint64_t, uint64_t)> progress,
                                    std::stop_token stop) {
  return guarded("compacting the bank", [&]() -> Result<CompactReport> {
    MSA_ASSIGN(const auto writer, BankWriter::open(impl_->reader->folder()));
    MSA_ASSIGN(const CompactionReport done,
               writer->compact(options.segment_bytes, progress, std::move(stop)));
    CompactReport report;
    report.segments_before = done.segments_before;
    report.segments_after = done.segments_after;
    report.removed_chunks = done.removed_chunks;
    report.bytes_before = done.bytes_before;
    report.bytes_after = done.bytes_after;
    report.stopped = done.stopped;
    const std::lock_guard lock(impl_->busy);
    MSA_ASSIGN(const auto snapshot, impl_->reader->snapshot());
    remove_stale_index(impl_->reader->folder(), *snapshot);
    return report;
  });
}

Result<EncodeReport> encode(const Model& model, Bank& bank, DocumentSource& source,
                            const EncodeOptions& options,
                            std::function<void(const EncodeProgress&)> progress,
                            std::stop_token stop) {
  return encode_shard(model, bank, source, {}, options, std::move(progress), std::move(stop));
}

Result<EncodeReport> encode_shard(const Model& model, Bank& bank, DocumentSource& source,
                                  const Shard& shard, const EncodeOptions& options,
                                  std::function<void(const EncodeProgress&)> progress,
                                  std::stop_token stop) {
  return guarded("encoding", [&]() -> Result<EncodeReport> {
    if (shard.index >= shard.count || shard.first_number > UINT32_MAX - 1 - shard.index)
      return Error{Code::invalid_argument,
                   fmt::format("shard {} of {} from number {} on: shards are 0 to {}, numbers at "
                               "most {}; choose others",
                               shard.index, shard.count, shard.first_number,
                               std::max(shard.count, 1u) - 1, UINT32_MAX - 1)};
    const Model::Impl& impl = model.impl();
    BankManifest manifest = impl.manifest();
    manifest.content = bank.impl().reader->manifest().content;
    MSA_ASSIGN(const auto writer,
               open_or_create_numbered(bank.impl().reader->folder(), manifest,
                                       {shard.first_number + shard.index, shard.count}));
    Encoder encoder(*impl.backend, impl.weights);
    const EncodeBatch encode_batch = [&](auto documents) -> Result<EncodedBatch> {
      const std::lock_guard lock(impl.busy);  // questions may be answered between batches
      EncodedBatch batch;
      MSA_TRY(encoder.encode(documents, impl.weights->compute, false, batch));
      // Looking tokens up maps the table's neighbourhood of each; left alone, all of it would
      // become resident beside the packed weights.
      impl.weights->checkpoint->drop(kEmbeddingTensor);
      return batch;
    };
    return ingest(*impl.tokenizer, encode_batch,
                  {impl.config().max_positions, shard.index, shard.count}, *writer, source, options,
                  progress, stop);
  });
}

}  // namespace msa
