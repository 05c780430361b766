"""The index: facts about each session that are available without opening its document. It can always be rebuilt.

Other layers call `session_index`, `manifest`, `search_index` and `short_ids`. They use the others:

- One document: `document_row` and `whole_document` read its file, `row` and `overview` say what is known of it.
- The folders: `folder_scan` lists them, `sweep` finds documents that were edited in place, `row_reader` and
  `row_batches` read what changed, `stored_scans` keeps what was found for other processes.
- The manifest: `manifest_file` and `manifest_lines` are its bytes, `manifest_reader` follows it, `recent_rows` has its
  last rows in memory, `manifest_writer` adds lines and replaces it, `manifest_queries` finds, sorts and counts rows.
- The tables: `manifest_index` folds the manifest into those of `index_tables`: `row_table`, which `row_queries` reads,
  and `found_table`. `sqlite_file` opens the file, also for the search index.
- The words of documents: `search_index`, `search_content`, `search_query`, `search_matches`.
"""
