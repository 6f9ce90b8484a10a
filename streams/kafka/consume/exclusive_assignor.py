"""All partitions to one member of the group; the others stand by.

Faust shares partitions out. A learner must have all of them or none, so of two that shared them
neither could work.
"""

from collections.abc import MutableMapping
from typing import Any

from faust.assignor.client_assignment import ClientAssignment
from faust.assignor.partition_assignor import PartitionAssignor


class ExclusiveAssignor(PartitionAssignor):
    """Gives all partitions to the member that had most of them, else to the first by name."""

    def _perform_assignment(self, cluster: Any, member_metadata: Any) -> MutableMapping[str, Any]:
        members = sorted(member_metadata)
        clients = {each: self._get_client_metadata(member_metadata[each]) for each in members}
        self._update_member_urls(clients)
        chosen = max(members, key=lambda each: len(clients[each].assignment.active_tps))
        everything = {
            topic: sorted(cluster.partitions_for_topic(topic) or ())
            for topic in member_metadata[chosen].subscription
        }
        assignments = {each: ClientAssignment(actives={}, standbys={}) for each in members}
        assignments[chosen] = ClientAssignment(
            actives={topic: numbers for topic, numbers in everything.items() if numbers},
            standbys={},
        )
        return self._protocol_assignments(
            assignments,
            self._get_changelog_distribution(assignments),
            self._get_external_topic_distribution(assignments),
            dict.fromkeys(everything, 0),
        )
