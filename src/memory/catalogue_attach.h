// What attaching other banks does to a catalogue: one transaction of any size. Private to memory/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "memory/catalogue.h"
#include "memory/given_numbers.h"
#include "msa/result.h"

namespace msa {

// Rows are written as they come, so that memory does not grow with them, and are seen by the
// queries below; others see them after commit(). Destroyed without it, nothing has changed. The
// caller holds the bank's lock.
class CatalogueAttachment {
 public:
  static Result<CatalogueAttachment> begin(const std::filesystem::path& file);
  CatalogueAttachment(CatalogueAttachment&&) noexcept;
  CatalogueAttachment& operator=(CatalogueAttachment&&) noexcept;
  ~CatalogueAttachment();

  Result<int64_t> next_segment() const;

  struct Named {
    uint32_t number = 0;
    uint64_t hash = 0;        // of title and text
    uint64_t char_begin = 0;  // where the text stood under this name
  };
  // The document with this id or alias.
  Result<std::optional<Named>> find_id(std::string_view id);
  // The lowest number of a document with this title and text, and their hash.
  Result<std::optional<uint32_t>> find_text(uint64_t hash, std::string_view title,
                                            std::string_view text);

  // The document lies in document.segment, which may be recorded later on. No document and no alias
  // has its id.
  Result<void> insert(const DocumentRecord& document);
  // The same holds for its id.
  Result<void> insert(const AliasRecord& alias);
  // As a NameRemoval of Catalogue::commit() does. The name is there.
  Result<void> remove(std::string_view id);
  Result<void> insert(const SegmentRecord& segment);

  // Makes all of it count. `given` are the numbers that have been given out then.
  Result<void> commit(const GivenNumbers& given, int64_t next_segment);

  // The numbers that have been given out before.
  const GivenNumbers& given() const;

 private:
  struct State;
  explicit CatalogueAttachment(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace msa
