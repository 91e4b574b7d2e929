# frozen_string_literal: true

require "zlib"
require "jobtide/packs"

# The bytes of a spool file, for writers and readers: the header "JTSPOOL1", then records of length (u32, big endian),
# CRC32 of the text (u32) and the whole event as JSON.
#
# Pure but for the reading. A record that is cut off or fails its CRC ends the file: a process died while it wrote.
module Jobtide
  module SpoolFile
    HEADER = "JTSPOOL1".b.freeze
    SUFFIX = ".jtspool" # other languages have their own
    LANE = /,"lane":(\d+),"seq":\d+}\z/.freeze # at the end of the text (see Packs)
    MAX_RECORD_BYTES = 64 * 1024

    module_function

    # Where an epoch's events for a target are kept. What is bound for another target is left alone.
    def path(directory, target, epoch)
      File.join(directory, format("%08x-%s%s", Zlib.crc32(target), epoch, SUFFIX))
    end

    def all(directory, target)
      Dir.glob(File.basename(path("", target, "*")), base: directory).sort.map { |name| File.join(directory, name) }
    end

    def record(json)
      [json.bytesize, Zlib.crc32(json)].pack("NN") << json.b
    end

    # Texts from `offset` on, about `max_bytes` of them, and the offset after the last whole one.
    def read(io, offset, max_bytes)
      texts = []
      offset = HEADER.bytesize if offset.zero? && io.pread(HEADER.bytesize, 0) == HEADER
      stop = offset + max_bytes
      while offset.positive? && offset < stop && (json = record_at(io, offset))
        texts << Packs::Text.new(LANE.match(json) ? Regexp.last_match(1).to_i : UNNUMBERED, json)
        offset += 8 + json.bytesize
      end
      [texts, offset]
    rescue EOFError
      [texts, offset]
    end

    # The text of the whole record at an offset; nil when there is none.
    def record_at(io, offset)
      head = io.pread(8, offset)
      return if head.bytesize < 8

      length, crc = head.unpack("NN")
      return if length > MAX_RECORD_BYTES

      json = io.pread(length, offset + 8)
      json.bytesize == length && Zlib.crc32(json) == crc ? json.force_encoding(Encoding::UTF_8) : nil
    rescue EOFError
      nil
    end
  end
end
