# frozen_string_literal: true

require "test_helper"
require "open3"
require "rbconfig"

# The gem as people get it: built, unpacked, and all of it loadable from there.
class GemTest < Minitest::Test
  include JobtideTest

  HOME = File.expand_path("..", __dir__)

  def gem(*arguments)
    output, status = Open3.capture2e({ "TMPDIR" => ENV["TMPDIR"] }, RbConfig.ruby, "-S", "gem", *arguments, chdir: HOME)
    assert status.success?, output
    output
  end

  def test_it_is_built_and_works_from_there
    Dir.mktmpdir do |directory|
      file = File.join(directory, "jobtide-#{Jobtide::VERSION}.gem")
      refute_match(/WARNING/, gem("build", "jobtide.gemspec", "--output", file).lines.grep_v(/homepage|--strict|See https/).join)
      gem("unpack", file, "--target", directory)
      inside = File.join(directory, "jobtide-#{Jobtide::VERSION}")
      files = Dir.glob("**/*", base: inside).select { |name| File.file?(File.join(inside, name)) }
      assert_equal Dir.glob("lib/**/*.rb", base: HOME).sort, files.grep(/\Alib/).sort
      assert_equal %w[CHANGELOG.md LICENSE README.md], files.reject { |name| name.include?("/") }.sort
      assert_equal Dir.glob("examples/**/*.rb", base: HOME).sort, files.grep(/\Aexamples/).sort
      script = "require 'jobtide'; require 'jobtide/transports/http'; e = Jobtide.emitter; e.job_enqueued(e.job('cron', 'q', 'C', '1')); print Jobtide::VERSION, Jobtide.errors"
      output, status = Open3.capture2e(RbConfig.ruby, "--disable-gems", "-I", File.join(inside, "lib"), "-e", script)
      assert status.success?, output
      assert_equal "#{Jobtide::VERSION}0", output
    end
  end

  def test_every_file_of_the_changelog_and_version_agree
    assert_match(/^## #{Regexp.escape(Jobtide::VERSION)}$/, File.read(File.join(HOME, "CHANGELOG.md")))
  end
end
