{ "includes": ["src-native/privdrop.gypi"] }
