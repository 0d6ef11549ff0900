# The Homebrew formula; `krew/release` replaces the placeholders between @ signs.
class KubectlDynamo < Formula
  desc "Serve large language models with NVIDIA Dynamo on Kubernetes"
  homepage "@HOMEPAGE@"
  version "@VERSION@"
  license "Apache-2.0"

@PLATFORMS@

  def install
    bin.install "kubectl-dynamo"
    bash_completion.install "completions/kubectl-dynamo.bash" => "kubectl-dynamo"
    zsh_completion.install "completions/_kubectl-dynamo"
    fish_completion.install "completions/kubectl-dynamo.fish"
    man1.install Dir["man/*.1"]
  end

  test do
    assert_match "kubectl dynamo #{version}", shell_output("#{bin}/kubectl-dynamo version")
  end
end
