# frozen_string_literal: true

require "tmpdir"
require "jobtide/orphans"
require "jobtide/spool"

# Children that live for one job (Resque) hand their events to the parent through spool files: written at once, without a
# thread or a connection in the child, and kept even if the child is killed. The parent delivers them while the child
# runs; if the parent dies too, the next process that uses the directory does.
module Jobtide
  class Handover
    attr_reader :pid, :orphans

    def initialize(settings)
      @pid = ::Process.pid
      @directory = settings.spool_dir.empty? ? Dir.mktmpdir("jobtide-") : settings.spool_dir
      @ours = settings.spool_dir.empty?
      @max_bytes = settings.spool_bytes
      @target = settings.target
      @orphans = Orphans.new(@directory, @target, living: true)
    end

    # What a child has instead of a background thread.
    def flusher(ring, partitions)
      Child.new(ring, Spool.new(@directory, @target, ring.epoch, @max_bytes), partitions)
    end

    # The parent ends: a directory that only it knew goes away when it is empty.
    def close
      Dir.rmdir(@directory) if @ours && @pid == ::Process.pid
    rescue SystemCallError
      nil
    end

    # Takes the place of the Flusher in a child: waking it writes.
    class Child
      attr_reader :beats, :partitions, :spooled
      attr_accessor :orphans

      def initialize(ring, spool, partitions)
        @ring = ring
        @spool = spool
        @partitions = partitions
        @beats = []
        @spooled = 0
      end

      # Never: each event goes to disk at once.
      def awake
        false
      end

      def wake
        epoch = @ring.epoch
        while (records = @ring.take(64 << 10)).any?
          kept = @spool.write(records.map { |record| Packs.text(record, epoch) })
          @spooled += kept
          records.drop(kept).each { @ring.lost }
        end
      end

      def flush(_timeout_s)
        wake
        true
      end

      # It has no children of its own to wait for.
      def drain(_timeout_s)
        true
      end

      # The file stays, for the parent.
      def stop(_timeout_s)
        wake
      end

      def connected?
        true
      end

      def reach
        true
      end
    end
  end
end
