# frozen_string_literal: true

require "jobtide/spool_file"

# What dead processes left in a spool directory, and what living children write there for us to deliver.
#
# A file whose lock can be had belongs to nobody who lives. Its events carry their own epochs and numbers, so that two
# readers, or one that starts over, do no harm: the stream knows a repeat when it sees one. Background thread only.
module Jobtide
  class Orphans
    # Part of a file: the texts, and where reading goes on once they are delivered.
    Batch = Struct.new(:path, :texts, :offset)

    # Our own spool file; it and the files of our own journal are no orphans.
    attr_writer :own

    # `living`: read files of processes that live too (children that hand over).
    def initialize(directory, target, own: nil, living: false)
      @directory = directory
      @target = target
      @own = own
      @living = living
      @offsets = {}
    end

    # The next texts of any file; nil when there is nothing.
    def take(max_bytes)
      SpoolFile.all(@directory, @target).each do |path|
        batch = own?(path) ? nil : from(path, max_bytes)
        return batch if batch
      end
      nil
    rescue SystemCallError
      nil
    end

    def delivered(batch)
      @offsets[batch.path] = batch.offset
    end

    private

    def own?(path)
      @own && path.start_with?(@own.delete_suffix(SpoolFile::SUFFIX))
    end

    def from(path, max_bytes)
      File.open(path, "r+b") do |file|
        dead = file.flock(File::LOCK_EX | File::LOCK_NB)
        return nil unless dead || @living

        texts, offset = SpoolFile.read(file, @offsets.fetch(path, 0), max_bytes)
        return Batch.new(path, texts, offset) unless texts.empty?

        discard(path, file, offset) if dead
      end
      nil
    rescue SystemCallError # another reader was faster
      @offsets.delete(path)
      nil
    end

    # Nothing more can be read of a dead process's file.
    def discard(path, file, offset)
      left = file.size - offset
      Jobtide.log.warn("jobtide: #{left} bytes at the end of #{File.basename(path)} are torn") if left.positive?
      File.unlink(path)
      @offsets.delete(path)
    end
  end
end
