"""What is known of each session without opening its document. Derived from the documents and disposable."""
