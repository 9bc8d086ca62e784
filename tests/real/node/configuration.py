"""What the parts of a node are told, as their configuration files."""

import json
from pathlib import Path
from typing import Any

PAUSE = "taskloom.test/pause:1"
SOCKET = "/run/containerd/containerd.sock"
PODS = "10.244.0.0/24"
DOMAIN = "cluster.local"


def containerd(*, state: Path, plugins: Path, networks: Path) -> str:
    """Write containerd's: state in `state`, network plugins and their configuration."""
    return f"""
version = 2
root = "{state}"
state = "/run/containerd"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  disable_apparmor = true
  # Neither is a machine's that is itself a container: no huge pages, no CAP_SYS_RESOURCE.
  disable_hugetlb_controller = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{networks}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""


def pod_network() -> str:
    """Write the plugins' configuration: a wire from each pod to the node, no bridge."""
    addresses: dict[str, Any] = {
        "type": "host-local",
        "dataDir": "/run/pods",
        "ranges": [[{"subnet": PODS}]],
    }
    addresses["routes"] = [{"dst": "0.0.0.0/0"}]
    plugins: list[dict[str, Any]] = [
        {"type": "ptp", "ipMasq": False, "ipam": addresses},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    return json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": plugins})


def kubelet(*, state: Path, cgroup: str, dns: str) -> str:
    """Write the kubelet's.

    Who reaches it may do anything with it: that is the room's inside, and nobody else.
    """
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{cgroup}",
            "clusterDNS": [dns],
            "clusterDomain": DOMAIN,
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            # Machines with cgroups of the first version do too.
            "failCgroupV1": False,
            "failSwapOn": False,
            "oomScoreAdj": 0,
            "podLogsDir": str(state / "logs"),
            "resolvConf": str(state / "resolv.conf"),
            "volumePluginDir": str(state / "plugins"),
            # The machine's disk may be as full as it likes.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "imagefs.available": "1%",
            },
            "nodeStatusUpdateFrequency": "5s",
        }
    )


def proxy(*, kubeconfig: Path, node: str) -> str:
    """Write kube-proxy's; it leaves the machine's limits of tracked connections alone."""
    untouched = {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
    return json.dumps(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "mode": "iptables",
            "clusterCIDR": PODS,
            "hostnameOverride": node,
            "oomScoreAdj": 0,
            "conntrack": untouched,
        }
    )


def dns(*, kubeconfig: Path, address: str) -> str:
    """Write CoreDNS's: the names of Services and nothing else."""
    return f"""
.:53 {{
  bind {address}
  ready {address}:8181
  errors
  cache 5
  kubernetes {DOMAIN} in-addr.arpa {{
    kubeconfig {kubeconfig}
    ttl 5
  }}
}}
"""
